#!lua flags=allow-oom
-- Sets the maximum age of the source mark. That isn't a change of the store's content, so its version stays. Works on a
-- full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, milliseconds (empty for no limit).
-- Reply 1.

-- include meta.lua

if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'source_max_age')
else
  redis.call('HSET', KEYS[1], 'source_max_age', ARGV[3])
end
return 1
