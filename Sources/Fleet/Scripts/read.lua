#!lua flags=no-writes
-- Reads all reports and marks as they were at one moment.
--
-- KEYS  members, marks, seen, register, turned away.
-- Reply seconds and microseconds of Redis's clock, the reports, the marks, and the members that were turned away with
-- the times of their last tries.

local time = redis.call('TIME')
return {time[1], time[2], redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]),
  redis.call('ZRANGE', KEYS[5], 0, -1, 'WITHSCORES')}
