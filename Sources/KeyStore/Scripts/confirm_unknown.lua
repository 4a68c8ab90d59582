#!lua flags=allow-oom
-- Remembers how many distinct unknown keys in a minute are right, in an operator's word. That is no change of the
-- store's content, so its version stays. Works on a full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, number of keys.
-- Reply 1.

-- include meta.lua

redis.call('HSET', KEYS[1], 'unknown', ARGV[3])
return 1
