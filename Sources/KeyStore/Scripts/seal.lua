#!lua
-- Seals the store, if its description is consistent.
--
-- KEYS  meta, changes, all buckets.
-- ARGV  schema, number of buckets, `1` if it may be empty, changes to keep.
-- Reply epoch, version, count, and 1 if it was already sealed.

-- include parse.lua
-- include hex.lua
-- include number.lua
-- include meta.lua
-- include describe.lua
-- include write_meta.lua

local records, sum = 0, parse(string.rep('0', 32))
for i = 3, #KEYS do
  local summary, problem = describe(KEYS[i])
  if not summary then return redis.error_reply('STOREBROKEN ' .. problem) end
  local length = math.max(redis.call('HLEN', KEYS[i]) - 1, 0)
  if length ~= summary.count then
    return redis.error_reply('STOREBROKEN ' .. KEYS[i] .. ' has ' .. number(length)
      .. ' records, its summary says ' .. number(summary.count))
  end
  for j = 1, 4 do sum[j] = bit.bxor(sum[j], summary.digest[j]) end
  records = records + summary.count
end
if records ~= count or hex(sum) ~= hex(total) then
  return redis.error_reply('STOREBROKEN the buckets have ' .. number(records) .. ' records with digest ' .. hex(sum)
    .. ', meta says ' .. number(count) .. ' with ' .. hex(total))
end
if records == 0 and ARGV[3] ~= '1' then
  return redis.error_reply('STOREEMPTY there are no keys in the store')
end
if meta[7] == '1' then return {epoch, number(version), number(count), 1} end
version = version + 1
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], number(version) .. '-0', 'epoch', epoch, 'op', 'seal',
  'total', hex(total))
writeMeta()
redis.call('HSET', KEYS[1], 'sealed', '1')
return {epoch, number(version), number(count), 0}
