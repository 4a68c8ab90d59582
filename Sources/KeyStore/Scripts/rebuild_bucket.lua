#!lua flags=allow-oom
-- Records the future summary of a bucket.
--
-- KEYS  meta, rebuild, the bucket.
-- ARGV  the new epoch, the bucket's number, count and digest of its records, and the names of fields to delete.
-- Reply 1.

-- include coming.lua

local version = coming(ARGV[1])
if not version then return refusal end
local kind = redis.call('TYPE', KEYS[3]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[3]) end
local length = redis.call('HLEN', KEYS[3]) - redis.call('HEXISTS', KEYS[3], 'summary')
for i = 5, #ARGV do length = length - redis.call('HEXISTS', KEYS[3], ARGV[i]) end
if length ~= tonumber(ARGV[3]) then
  return redis.error_reply('STOREBROKEN ' .. KEYS[3] .. ' was changed while it was rebuilt')
end
for i = 5, #ARGV do redis.call('HDEL', KEYS[3], ARGV[i]) end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. version)
return 1
