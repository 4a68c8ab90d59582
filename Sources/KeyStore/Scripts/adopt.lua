#!lua flags=allow-oom
-- Says that this store replaces another one. That is no change of the store's content, so its version stays. The eight
-- latest are kept. Works on a full Redis.
--
-- KEYS  meta, changes.
-- ARGV  schema, number of buckets, the other store's ID or name.
-- Reply the IDs and names of all stores that this one replaces, the latest first, with spaces between.

-- include meta.lua

if not meta[8] then redis.call('HSET', KEYS[1], 'store', epoch) end
local adopted, count = ARGV[3], 1
for word in string.gmatch(redis.call('HGET', KEYS[1], 'adopted') or '', '%S+') do
  if word ~= ARGV[3] and count < 8 then adopted, count = adopted .. ' ' .. word, count + 1 end
end
redis.call('HSET', KEYS[1], 'adopted', adopted)
return adopted
