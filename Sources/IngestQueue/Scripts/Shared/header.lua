-- include object.lua

-- The header of a claim, or nil if its first element isn't one.
local function header(line)
  if not line or #line > 512 or string.sub(line, 1, 11) ~= '{"worker":"' then return nil end
  local h = object(line)
  if h and type(h.worker) == 'string' and type(h.instance) == 'string' and type(h.batch) == 'number'
    and type(h.lease_until) == 'number' and type(h.claimed_at) == 'number' and type(h.count) == 'number' then
    -- Without a length it was written by an older build: then the longest lease that a worker can have.
    h.lease = tonumber(h.lease) or 3600000
    return h
  end
end
