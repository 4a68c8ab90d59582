#!lua flags=allow-oom
-- Closes the store to nodes and publishers, so that it can be rebuilt. If another rebuild is in progress, it can't
-- continue after that. Works on a full Redis, as does the whole rebuild.
--
-- KEYS  meta, changes, rebuild.
-- ARGV  schema, number of buckets, the new epoch, the latest version seen in a bucket.
-- Reply the future version of the store: later than any version in it.

local meta = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'version')
if meta[1] and meta[1] ~= ARGV[1] and meta[1] ~= '2' and meta[1] ~= 'rebuilding' or meta[2] and meta[2] ~= ARGV[2] then
  return redis.error_reply('STOREKIND the store has schema ' .. tostring(meta[1]) .. ' and ' .. tostring(meta[2])
    .. ' buckets')
end
local version = tonumber(ARGV[4])
local function consider(text)
  local number = tonumber(string.match(text or '', '^%d+') or '0')
  if number < 9007199254740992 then version = math.max(version, number) end
end
consider(meta[3])
if redis.call('TYPE', KEYS[2]).ok == 'stream' then
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info - 1, 2 do
    if info[i] == 'last-generated-id' then consider(info[i + 1]) end
  end
end
local coming = string.format('%.0f', version + 1)
redis.call('HSET', KEYS[1], 'schema', 'rebuilding', 'buckets', ARGV[2], 'rebuild', ARGV[3] .. ' ' .. coming)
redis.call('HDEL', KEYS[1], 'sealed')
redis.call('DEL', KEYS[3])
return coming
