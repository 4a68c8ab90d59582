-- include hex.lua
-- include number.lua
-- include meta.lua

-- Writes the changed parts of the store's description. A store of a build that gave it no ID gets one.
local function writeMeta()
  redis.call('HSET', KEYS[1], 'version', number(version), 'count', number(count), 'digest', hex(total))
  if not meta[8] then redis.call('HSET', KEYS[1], 'store', epoch) end
end
