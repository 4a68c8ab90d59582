#!lua flags=allow-oom
-- Writes one report, and removes members that have been silent for long.
--
-- Two live processes with one name would write the same field in turn, and each would look healthy. A restart is
-- different: a process that ended never writes again. So if a process writes, then another one, then the first again,
-- both are alive.
--
-- If the register is full, a new member replaces the one that ended first. If none has ended, it replaces the one that
-- has been silent for longest, if it has been silent for long enough. Silence counts only while other members report.
-- If nobody reports, Redis is unreachable or its clock made a step, and the silent members may be alive.
--
-- When Redis's clock goes back, earlier reports have times in the future. The next report sets these times to now.
-- Otherwise a member that is gone would look live when the clock reaches them.
--
-- KEYS  members, marks, seen, register, turned away.
-- ARGV  field, report, instance, 1 if it is the last report, how long members are kept in ms, maximum members, how long
--       a member must have been silent to be replaced in ms.
-- Reply OK.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local members, marks, seen, register, turned_away = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local field, report, instance, last = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local limit, room_after = tonumber(ARGV[6]), tonumber(ARGV[7])
local function number(n) return string.format('%.0f', n) end

local function mark_of(member)
  local readable, mark = pcall(cjson.decode, redis.call('HGET', marks, member) or '{}')
  return readable and type(mark) == 'table' and mark or {}
end
local function write_mark(member, at, instance, stopped, clash, before)
  redis.call('HSET', marks, member, string.format(
    '{"seen":%.0f,"instance":"%s","stopped":%s,"clash":%.0f,"before":"%s"}',
    at, instance, stopped and 'true' or 'false', clash, before))
  redis.call('ZADD', seen, number(at), member)
end
local function remove(member)
  redis.call('ZREM', seen, member)
  redis.call('HDEL', members, member)
  redis.call('HDEL', marks, member)
end

local future = redis.call('ZRANGEBYSCORE', seen, '(' .. number(now), '+inf')
for _, member in ipairs(future) do
  local m = mark_of(member)
  local function text(value) return type(value) == 'string' and value or '' end
  write_mark(member, now, text(m.instance), m.stopped == true, 0, text(m.before))
end
-- 5 s: live members report each second.
if #future > 0 or not redis.call('ZRANGEBYSCORE', seen, number(now - 5000), '+inf', 'LIMIT', 0, 1)[1] then
  redis.call('HSET', register, 'since', number(now))
end
local oldest = number(now - tonumber(ARGV[5]))
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', oldest, 'LIMIT', 0, 100)) do
  remove(silent)
end

-- The member that a new one may replace; nil if all are alive.
local function replaceable()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', seen, '-inf', '+inf')) do
    if string.find(redis.call('HGET', marks, member) or '', '"stopped":true', 1, true) then return member end
  end
  if now - (tonumber(redis.call('HGET', register, 'since')) or now) < room_after then return nil end
  return redis.call('ZRANGEBYSCORE', seen, '-inf', number(now - room_after), 'LIMIT', 0, 1)[1]
end

if redis.call('HGET', marks, field) == false then
  redis.call('ZREM', turned_away, field)
  if redis.call('HLEN', marks) >= limit then
    -- A member that ends needs no entry any more.
    if last then return redis.status_reply('OK') end
    local member = replaceable()
    if not member then
      -- If there are more than 100 entries, the oldest is removed. Members that still try renew their entries.
      local tried = redis.call('ZRANGEBYSCORE', turned_away, '-inf', '+inf', 'LIMIT', 0, 101)
      if #tried > 100 then redis.call('ZREM', turned_away, tried[1]) end
      redis.call('ZADD', turned_away, number(now), field)
      return redis.error_reply('FLEETFULL ' .. ARGV[6] .. ' live members are registered already')
    end
    remove(member)
  end
end

local mark = mark_of(field)
local holder, clash, before = mark.instance, tonumber(mark.clash) or 0, {}
local returned = false
if type(mark.before) == 'string' then
  for one in string.gmatch(mark.before, '%S+') do
    if one == instance then returned = true else before[#before + 1] = one end
  end
end
if type(holder) == 'string' and holder ~= instance then
  if returned then
    -- Its last report must not hide the other process, which is alive.
    if last then return redis.status_reply('OK') end
    clash = now
  end
  table.insert(before, 1, holder)
  before[5] = nil
end

redis.call('HSET', members, field, report)
write_mark(field, now, instance, last, clash, table.concat(before, ' '))
return redis.status_reply('OK')
