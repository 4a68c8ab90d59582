-- include hex.lua
-- include number.lua
-- include meta.lua
-- include describe.lua
-- include write_meta.lua

-- Reads and checks the summaries of the affected buckets, from KEYS[3] on; `finish` writes them at the end.
local summaries = {}
for i = 3, #KEYS do
  local summary, problem = describe(KEYS[i])
  if not summary then return redis.error_reply('STOREBROKEN ' .. problem) end
  summaries[i] = summary
end
local outcomes, agreed = {}, 0
local function finish()
  for i = 3, #KEYS do
    local summary = summaries[i]
    if summary.version then
      redis.call('HSET', KEYS[i], 'summary',
        number(summary.count) .. ' ' .. hex(summary.digest) .. ' ' .. number(summary.version))
    end
  end
  writeMeta()
  if agreed > 0 then redis.call('HINCRBY', KEYS[1], 'announced', agreed) end
  return {epoch, number(version), table.concat(outcomes), hex(total)}
end
