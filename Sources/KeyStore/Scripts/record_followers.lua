#!lua flags=allow-oom
-- Records that this number of replicas was seen, unless a greater number is recorded. Works on a full Redis.
--
-- KEYS  followers.
-- ARGV  number of replicas.
-- Reply 1.

local before = redis.call('GET', KEYS[1])
if not before or (tonumber(before) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
