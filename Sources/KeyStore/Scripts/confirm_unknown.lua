#!lua flags=allow-oom
-- Stores the number of distinct unknown keys that an operator confirms. That isn't a change of the store's content, so
-- its version stays. Works on a full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, number of keys.
-- Reply 1.

-- include meta.lua

redis.call('HSET', KEYS[1], 'unknown', ARGV[3])
return 1
