#!lua flags=allow-oom
-- Sets the maximum age of the source mark. No limit is written as `none`, and not by deleting the field: nodes must
-- tell a store whose limit was lifted from one that was flushed and has lost it. That isn't a change of the store's
-- content, so its version stays. Works on a full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, milliseconds (empty for no limit).
-- Reply 1.

-- include meta.lua

redis.call('HSET', KEYS[1], 'source_max_age', ARGV[3] == '' and 'none' or ARGV[3])
return 1
