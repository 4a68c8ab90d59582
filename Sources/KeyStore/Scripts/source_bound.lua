#!lua flags=allow-oom
-- Sets how old the source mark may be. That is no change of the store's content, so its version stays. Works on a full
-- Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, milliseconds (empty: no bound).
-- Reply 1.

-- include meta.lua

if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], 'source_max_age')
else
  redis.call('HSET', KEYS[1], 'source_max_age', ARGV[3])
end
return 1
