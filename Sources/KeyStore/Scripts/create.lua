#!lua
-- Creates an empty store, with an empty summary in each bucket. Its ID is its first epoch. Does nothing if there is a
-- store.
--
-- If parts of a store exist without its meta, the store was edited by hand or partly deleted. It is unknown which store
-- the parts belong to, and overwriting them would make the remaining keys unknown. So that is refused.
--
-- KEYS  meta, changes, all buckets.
-- ARGV  schema, number of buckets, the epoch, `1` to create it or `0` to check only whether it could be created.
-- Reply 1 if there is a store now, 0 if there is none.

if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
if redis.call('EXISTS', KEYS[2]) == 1 then
  return redis.error_reply('STOREBROKEN ' .. KEYS[1] .. ' is missing, the change stream exists')
end
local zeros = string.rep('0', 32)
for i = 3, #KEYS do
  local length = redis.call('HLEN', KEYS[i])
  local summary = length == 1 and redis.call('HGET', KEYS[i], 'summary')
  if length > 0 and not (summary and string.match(summary, '^0 ' .. zeros .. ' %d+$')) then
    return redis.error_reply('STOREBROKEN ' .. KEYS[1] .. ' is missing, ' .. KEYS[i] .. ' exists')
  end
end
if ARGV[4] ~= '1' then return 0 end
for i = 3, #KEYS do redis.call('HSET', KEYS[i], 'summary', '0 ' .. zeros .. ' 0') end
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'buckets', ARGV[2], 'epoch', ARGV[3], 'version', '0', 'count', '0',
  'digest', zeros, 'store', ARGV[3])
return 1
