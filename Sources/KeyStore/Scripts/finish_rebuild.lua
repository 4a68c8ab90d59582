#!lua flags=allow-oom
-- Writes the summaries of all buckets and opens the store again, as a new history that is sealed. Marks and
-- confirmations, of removals and of unknown keys, belonged to the old history, so they are reset, and so is the source
-- mark. The store keeps its ID. The new stream begins with this step.
--
-- KEYS  meta, changes, rebuild, all buckets.
-- ARGV  schema (2 if a record has an end), number of buckets, the new epoch.
-- Reply version and count.

-- include coming.lua
-- include parse.lua
-- include hex.lua
-- include number.lua

local version = coming(ARGV[3])
if not version then return refusal end
local count, total = 0, parse(string.rep('0', 32))
local summaries = {}
for i = 4, #KEYS do
  local summary = redis.call('HGET', KEYS[3], i - 4)
  local c, d, v = string.match(summary or '', '^(%d+) (%x+) (%d+)$')
  local length = redis.call('HLEN', KEYS[i]) - redis.call('HEXISTS', KEYS[i], 'summary')
  if v ~= version or #d ~= 32 or length ~= tonumber(c) then
    return redis.error_reply('STOREBROKEN ' .. KEYS[i] .. ' was changed after it was rebuilt')
  end
  summaries[i] = summary
  count = count + tonumber(c)
  local digest = parse(d)
  for j = 1, 4 do total[j] = bit.bxor(total[j], digest[j]) end
end
for i = 4, #KEYS do redis.call('HSET', KEYS[i], 'summary', summaries[i]) end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('XADD', KEYS[2], version .. '-0', 'epoch', ARGV[3], 'op', 'seal', 'total', hex(total))
local replicas = redis.call('HGET', KEYS[1], 'replicas')
if replicas and not (string.match(replicas, '^%d%d?$') and tonumber(replicas) <= 32) then
  redis.call('HDEL', KEYS[1], 'replicas')
end
if redis.call('HEXISTS', KEYS[1], 'store') == 0 then
  redis.call('HSET', KEYS[1], 'store', redis.call('HGET', KEYS[1], 'epoch') or ARGV[3])
end
redis.call('HDEL', KEYS[1], 'rebuild', 'announced', 'confirmed', 'unknown', 'source_mark',
  'source_version')
redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'buckets', ARGV[2], 'epoch', ARGV[3], 'version', version, 'count',
  number(count), 'digest', hex(total), 'sealed', '1')
return {version, number(count)}
