#!lua flags=allow-oom
-- Declares how many replicas could take this Redis's place. That is no change of what the store holds, so its version
-- stays. Works on a full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, how many.
-- Reply 1.

-- include meta.lua

redis.call('HSET', KEYS[1], 'replicas', ARGV[3])
return 1
