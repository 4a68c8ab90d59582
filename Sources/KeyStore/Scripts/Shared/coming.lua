-- The version that a rebuild leads to, if it is the one with this epoch.
local function coming(epoch)
  local meta = redis.call('HMGET', KEYS[1], 'schema', 'rebuild')
  return meta[1] == 'rebuilding' and string.match(meta[2] or '', '^' .. epoch .. ' (%d+)$')
end
local refusal = redis.error_reply('STOREREBUILD somebody else has rebuilt the store meanwhile, or is at it')
