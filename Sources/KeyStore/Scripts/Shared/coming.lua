-- The future version of the store, if the rebuild in progress has this epoch.
local function coming(epoch)
  local meta = redis.call('HMGET', KEYS[1], 'schema', 'rebuild')
  return meta[1] == 'rebuilding' and string.match(meta[2] or '', '^' .. epoch .. ' (%d+)$')
end
local refusal = redis.error_reply('STOREREBUILD another key-publisher reseal has rebuilt the store, or is running')
