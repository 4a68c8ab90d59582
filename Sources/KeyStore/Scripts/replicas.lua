#!lua flags=allow-oom
-- Declares how many replicas could become primary. That isn't a change of the store's content, so its version stays.
-- Works on a full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, number of replicas.
-- Reply 1.

-- include meta.lua

redis.call('HSET', KEYS[1], 'replicas', ARGV[3])
return 1
