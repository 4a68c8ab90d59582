-- include object.lua

-- The record of an envelope's failures, or nil.
local function failures_of(key, id)
  local text = redis.call('HGET', key, id)
  local f = text and object(text)
  if not f then return nil end
  return {
    attempts = tonumber(f.attempts) or 0, deaths = tonumber(f.deaths) or 0, first_at = tonumber(f.first_at) or 0 }
end
