-- include hex.lua
-- include number.lua
-- include meta.lua

-- Writes what has changed of what the store says of itself.
local function writeMeta()
  redis.call('HSET', KEYS[1], 'version', number(version), 'count', number(count), 'digest', hex(total))
end
