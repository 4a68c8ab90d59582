#!lua flags=allow-oom
-- Writes something for another connection to find. Works on a full Redis.
--
-- KEYS  a meeting.
-- ARGV  milliseconds until it expires.
-- Reply OK.

return redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
