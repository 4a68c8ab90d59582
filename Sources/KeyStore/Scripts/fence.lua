#!lua flags=allow-oom
-- A write without meaning, for replicas to acknowledge. Works on a full Redis.
--
-- KEYS  fence.
-- ARGV  a value.
-- Reply OK.

return redis.call('SET', KEYS[1], ARGV[1])
