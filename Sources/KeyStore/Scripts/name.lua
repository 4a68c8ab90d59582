#!lua flags=allow-oom
-- Names the store, unless it has a name. That is no change of the store's content, so its version stays. Works on a full
-- Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, the name.
-- Reply the store's name, and 1 if it is new.

-- include meta.lua

local name = redis.call('HGET', KEYS[1], 'name')
if name then return {name, 0} end
if not meta[8] then redis.call('HSET', KEYS[1], 'store', epoch) end
redis.call('HSET', KEYS[1], 'name', ARGV[3])
return {ARGV[3], 1}
