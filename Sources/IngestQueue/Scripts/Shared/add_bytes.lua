-- Adds to the byte count of one list. Errors are ignored: counting must not prevent the move that is counted.
local function add_bytes(key, field, bytes)
  if bytes ~= 0 then redis.pcall('HINCRBY', key, field, bytes) end
end
