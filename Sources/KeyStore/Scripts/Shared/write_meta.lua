-- include hex.lua
-- include number.lua
-- include meta.lua

-- Writes the changed parts of the store's description.
local function writeMeta()
  redis.call('HSET', KEYS[1], 'version', number(version), 'count', number(count), 'digest', hex(total))
end
