-- Notes that a gateway is alive, and tells how many are.
-- KEYS[1]: who is alive, by when that was told. ARGV: the gateway, and for how many milliseconds it is believed.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- First what a server without memory refuses: after another change it would let it pass.
redis.call('ZADD', KEYS[1], now_ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], 10 * tonumber(ARGV[2]))
return redis.call('ZCARD', KEYS[1])
