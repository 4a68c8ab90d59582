-- include id_of.lua
-- include account_of.lua
-- include add_dead_bytes.lua

-- Makes an envelope a dead letter. The caller removes the envelope from its list.
local function bury(dead, dead_bytes, failures, envelope, reason, worker, f, at)
  local id = id_of(envelope)
  local entry = {
    'id', id, 'reason', reason, 'attempts', string.format('%.0f', f.attempts),
    'deaths', string.format('%.0f', f.deaths), 'first_at', string.format('%.0f', f.first_at),
    'died_at', string.format('%.0f', at), 'worker', worker }
  local account = account_of(envelope)
  if account then
    entry[#entry + 1] = 'account'
    entry[#entry + 1] = account
  end
  entry[#entry + 1] = 'envelope'
  entry[#entry + 1] = envelope
  -- The stream may have been deleted by hand.
  if redis.call('XLEN', dead) == 0 then redis.call('UNLINK', dead_bytes) end
  redis.call('XADD', dead, '*', unpack(entry))
  local bytes = 0
  for _, part in ipairs(entry) do bytes = bytes + #part end
  add_dead_bytes(dead_bytes, account, bytes)
  redis.call('HDEL', failures, id)
end
