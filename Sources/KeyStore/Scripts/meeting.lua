#!lua flags=allow-oom
-- Writes a key that another connection tries to read. Works on a full Redis.
--
-- KEYS  the key.
-- ARGV  milliseconds until it expires.
-- Reply OK.

return redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
