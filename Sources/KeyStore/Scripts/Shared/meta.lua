-- include parse.lua
-- include number.lua

-- Reads and checks the store's description: epoch, version, count and digest. If it isn't valid the script ends here
-- with an error.
--
-- KEYS[1] and KEYS[2] are meta and changes, ARGV[1] and ARGV[2] the schema and the number of buckets. A store that has
-- had records with an expiry has schema 2.
local schema, buckets = ARGV[1], ARGV[2]
local meta = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'epoch', 'version', 'count', 'digest', 'sealed',
  'store')
if redis.call('EXISTS', KEYS[1]) == 0 then
  if redis.call('EXISTS', unpack(KEYS)) > 0 then
    return redis.error_reply('STOREBROKEN ' .. KEYS[1] .. ' is missing, other keys of the store exist')
  end
  return redis.error_reply('STORENONE there is no key store')
end
if meta[1] == 'rebuilding' then
  return redis.error_reply('STOREREBUILD the store is being rebuilt by key-publisher reseal; '
    .. 'if that was interrupted, run it again')
end
if not meta[3] then return redis.error_reply('STOREBROKEN meta lacks its epoch') end
if meta[1] ~= schema and meta[1] ~= '2' or meta[2] ~= buckets then
  return redis.error_reply('STOREKIND the store has schema ' .. tostring(meta[1]) .. ' and ' .. tostring(meta[2])
    .. ' buckets, this publisher writes schema ' .. schema .. ' or 2, and ' .. buckets)
end
if not (string.match(meta[4] or '', '^%d+$') and string.match(meta[5] or '', '^%d+$')
    and #(meta[6] or '') == 32 and string.match(meta[6], '^%x+$')) then
  return redis.error_reply('STOREBROKEN meta lacks its version, count or digest')
end
local epoch, version, count, total = meta[3], tonumber(meta[4]), tonumber(meta[5]), parse(meta[6])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if #last > 0 and tonumber(string.match(last[1][1], '^%d+')) > version then
  return redis.error_reply('STOREBROKEN the change stream goes to ' .. last[1][1] .. ', but meta is at version '
    .. number(version))
end
