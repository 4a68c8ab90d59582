-- Adds to the dead letters' bytes of an account, which may be nil. A negative number subtracts.
local function add_dead_bytes(key, account, bytes)
  if type(account) ~= 'string' then account = '' end
  for _, member in ipairs({ 'all', 'of:' .. account }) do
    if tonumber(redis.call('ZINCRBY', key, bytes, member)) <= 0 then redis.call('ZREM', key, member) end
  end
end
