-- include account_of.lua

-- Adds an envelope that waits for a retry to its account's bytes, or subtracts it with the sign -1. Errors are ignored:
-- counting must not prevent a retry.
local function add_later_bytes(key, envelope, sign)
  local account = account_of(envelope)
  if not account then return end
  local bytes = redis.pcall('ZINCRBY', key, sign * #envelope, 'of:' .. account)
  if type(bytes) == 'string' and tonumber(bytes) <= 0 then redis.pcall('ZREM', key, 'of:' .. account) end
end
