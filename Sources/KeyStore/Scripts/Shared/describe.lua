-- include parse.lua
-- include number.lua
-- include meta.lua

-- A bucket's summary, or nil and the problem.
local function describe(key)
  local summary = redis.call('HGET', key, 'summary')
  if not summary then return nil, 'no summary in ' .. key end
  local c, d, v = string.match(summary, '^(%d+) (%x+) (%d+)$')
  if not c or #d ~= 32 then return nil, 'unreadable summary in ' .. key end
  if tonumber(v) > version then
    return nil, key .. ' was changed at version ' .. v .. ', but meta is at version ' .. number(version)
  end
  return {count = tonumber(c), digest = parse(d), changedAt = tonumber(v)}
end
