-- Counts bytes of one list. Counting must not be in the way of what is counted, so errors are dropped.
local function add_bytes(key, field, bytes)
  if bytes ~= 0 then redis.pcall('HINCRBY', key, field, bytes) end
end
