-- Gives out what limits allow; the same arithmetic as that of a gateway alone.
-- KEYS: the counts. ARGV[1]: the time in microseconds, for tests; empty: the server's.
-- Then for each count: rules, want, least, back, reset, seen; and for each rule: kind, a, b, owed.
-- A count is a row of whole numbers: `g` has seconds and nanoseconds of the arrival time, `w` the window's number, what was used
-- before and in it. What is a number of nanoseconds here spans a limit, never 1970
-- to now, so that doubles hold it.
local G = 1000000000
local now_s, now_us
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now_s, now_us = tonumber(time[1]), tonumber(time[2])
else
  local us = tonumber(ARGV[1])
  now_s, now_us = math.floor(us / 1000000), us % 1000000
end
local now_ns = now_us * 1000
local at = 1
local function word() at = at + 1 return ARGV[at] end
local function number() return tonumber(word()) end
local function text(number) return string.format('%.0f', number) end

local kinds = {
  g = {
    read = function(rule, words, first)
      local ahead = ((words[first] or 0) - now_s) * G + ((words[first + 1] or 0) - now_ns)
      rule.ahead = math.min(math.max(ahead, 0), rule.b)
      return first + 2
    end,
    add = function(rule, count) rule.ahead = math.min(math.max(rule.ahead + count * rule.a, 0), rule.b) end,
    room = function(rule) return math.floor((rule.b - rule.ahead) / rule.a) end,
    used = function(rule) return math.ceil(rule.ahead / rule.a) end,
    reset = function(rule) return rule.ahead end,
    wait = function(rule, count) return math.max(rule.ahead + count * rule.a - rule.b, 0) end,
    write = function(rule)
      local ns = now_ns + rule.ahead
      local s = math.floor(ns / G)
      return text(now_s + s) .. ' ' .. text(ns - s * G)
    end,
  },
  w = {
    read = function(rule, words, first)
      local period_us = rule.b / 1000
      local us = now_s * 1000000 + now_us
      rule.number = math.floor(us / period_us)
      rule.into = (us - rule.number * period_us) * 1000
      local behind = rule.number - (words[first] or 0)
      rule.before, rule.now = 0, 0
      if behind == 0 then
        rule.before, rule.now = words[first + 1] or 0, words[first + 2] or 0
      elseif behind == 1 then
        rule.before = words[first + 2] or 0
      end
      return first + 3
    end,
    add = function(rule, count) rule.now = math.max(rule.now + count, 0) end,
    sum = function(rule) return rule.now + math.ceil(rule.before * ((rule.b - rule.into) / rule.b)) end,
    wait = function(rule, count)
      local function falls(used, room)
        if used <= room then return 0 end
        return rule.b - math.floor(room * (rule.b / used))
      end
      local room = rule.a - count
      if room < 0 then return 2 * rule.b - rule.into end
      local left = room - rule.now
      if left >= 0 then return math.max(falls(rule.before, left) - rule.into, 0) end
      return rule.b - rule.into + falls(rule.now, room)
    end,
    reset = function(rule)
      if rule.now > 0 then return 2 * rule.b - rule.into end
      if rule.before > 0 then return rule.b - rule.into end
      return 0
    end,
    write = function(rule) return text(rule.number) .. ' ' .. text(rule.before) .. ' ' .. text(rule.now) end,
  },
}
kinds.w.room = function(rule) return math.max(rule.a - kinds.w.sum(rule), 0) end
kinds.w.used = kinds.w.sum

local told = {}
for index, key in ipairs(KEYS) do
  local count, want, least, back = number(), number(), number(), number()
  local is_reset, seen = word() == '1', word()
  local kept = redis.call('GET', key) or seen
  if is_reset then kept = '' end
  local words = {}
  for digits in string.gmatch(kept, '%d+') do words[#words + 1] = tonumber(digits) end
  local rules, room, first, owes = {}, want, 1, 0
  for place = 1, count do
    local kind, a, b, owed = kinds[word()], number(), number(), number()
    local rule = { a = a, b = b }
    first = kind.read(rule, words, first)
    if owed ~= back then kind.add(rule, owed - back) end
    owes = owes + owed
    room = math.min(room, kind.room(rule))
    rules[place] = { kind, rule }
  end
  local granted = math.max(room, 0)
  if granted < least then granted = 0 end
  local answer = { granted, -1, 0, 0, '' }
  local states = {}
  for place, pair in ipairs(rules) do
    local kind, rule = pair[1], pair[2]
    if granted > 0 then kind.add(rule, granted) end
    local left = kind.room(rule)
    if answer[2] < 0 or left < answer[2] then answer[2] = left end
    answer[3] = math.max(answer[3], kind.reset(rule))
    answer[4] = math.max(answer[4], kind.wait(rule, math.max(least, 1)))
    answer[5 + place] = kind.used(rule)
    states[place] = kind.write(rule)
  end
  answer[5] = table.concat(states, ' ')
  if granted > 0 or back > 0 or owes > 0 or is_reset then
    -- What was reset stays for a while, so that nobody goes on from what was seen before.
    local keep_ms = math.ceil(answer[3] / 1000000) + (is_reset and 60000 or 1000)
    redis.call('SET', key, answer[5], 'PX', text(keep_ms))
  end
  told[index] = answer
end
return told
