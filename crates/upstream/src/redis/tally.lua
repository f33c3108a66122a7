-- Notes how much a gateway has counted in windows of quotas, and tells how much all of them have.
-- KEYS: the counts, one for each window. ARGV[1]: the gateway; ARGV[2]: a number that grows from question to question: one that
-- comes late, or twice, changes nothing. Then for each count: when it ends (seconds since 1970), how much the gateway has counted
-- all in all, whether it has just begun (it may have forgotten some of what it told before), and whether all begin anew.
-- A count has for each gateway what it told, and by which number (`#`); the sum of all (`t`), and what of that was forgiven (`z`).
local KEEP_S = 3600
local function text(number) return string.format('%.0f', number) end
local gateway, sequence = ARGV[1], tonumber(ARGV[2])
local told, at = {}, 2
for index, key in ipairs(KEYS) do
  local ends_s, own = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local is_first, is_reset = ARGV[at + 3] == '1', ARGV[at + 4] == '1'
  at = at + 4
  local kept = redis.call('HMGET', key, gateway, gateway .. '#', 't', 'z')
  local before, last = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
  local total, zero = tonumber(kept[3] or 0), tonumber(kept[4] or 0)
  if is_first and before > own then own = before end
  if sequence <= last then own = before end
  if own ~= before or is_reset then
    total = math.max(total + own - before, 0)
    if is_reset then zero = total end
    redis.call('HSET', key, gateway, text(own), gateway .. '#', text(math.max(sequence, last)), 't', text(total), 'z', text(zero))
    redis.call('EXPIREAT', key, text(ends_s + KEEP_S))
  end
  told[index] = { math.max(total - zero, 0), own, last }
end
return told
