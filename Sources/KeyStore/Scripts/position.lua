#!lua flags=no-writes
-- Reads fields of the store's description, and Redis's time, in one step.
--
-- KEYS  meta.
-- ARGV  the names of the fields.
-- Reply the values of the fields, then the time in microseconds since 1970. The time is null if Redis denies TIME to
--       this user.

local answer = redis.call('HMGET', KEYS[1], unpack(ARGV))
local time = redis.pcall('TIME')
answer[#ARGV + 1] = not time.err and string.format('%.0f', time[1] * 1000000 + time[2])
return answer
