#!lua flags=allow-oom
-- Removes the records of keys that were revoked before a time. Works on a full Redis.
--
-- KEYS  meta, changes, and the affected buckets.
-- ARGV  schema, number of buckets, the time in seconds, changes to keep, then three for each key: the index of its
--       bucket among KEYS, the bucket's number, the ID.
-- Reply as for changes: `c` for a removed record, `u` for a key that isn't revoked or was revoked later, `m` for a key
--       without a record, `d` for a key whose record can't be read.

-- include fold.lua
-- include touched.lua
-- include number.lua
-- include hex.lua
-- include meta.lua

local before, keep = tonumber(ARGV[3]), ARGV[4]
for a = 5, #ARGV, 3 do
  local key, summary, id = KEYS[tonumber(ARGV[a])], summaries[tonumber(ARGV[a])], ARGV[a + 2]
  local old = redis.call('HGET', key, id)
  local state, since = string.match(old or '', '^[' .. schema .. '2] ([asr]) (%d+)/?%d*/?%d* .+$')
  if not old then
    outcomes[#outcomes + 1] = 'm-'
  elseif not state then
    outcomes[#outcomes + 1] = 'd-'
  elseif state ~= 'r' or tonumber(since) >= before then
    outcomes[#outcomes + 1] = 'u' .. state
  else
    summary.count = summary.count - 1
    count = count - 1
    fold(id, old, summary.digest, total)
    version = version + 1
    summary.version = version
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', keep, number(version) .. '-0', 'epoch', epoch, 'op', 'purge', 'id', id,
      'bucket', ARGV[a + 1], 'count', number(summary.count), 'digest', hex(summary.digest), 'total', hex(total))
    redis.call('HDEL', key, id)
    outcomes[#outcomes + 1] = 'c-'
  end
end
return finish()
