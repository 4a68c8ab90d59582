#!lua flags=allow-oom
-- Records that so many replicas were seen to follow, unless it were more before. Works on a full Redis.
--
-- KEYS  followers.
-- ARGV  how many.
-- Reply 1.

local before = redis.call('GET', KEYS[1])
if not before or (tonumber(before) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
