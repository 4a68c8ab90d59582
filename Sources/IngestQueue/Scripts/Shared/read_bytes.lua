-- The stored counts of bytes, by field; false for an invalid number. If the key has another type: no counts, and
-- Redis's error.
local function read_bytes(key)
  local items, counts = redis.pcall('HGETALL', key), {}
  for i = 1, #items, 2 do
    counts[items[i]] = string.match(items[i + 1], '^%-?%d+$') and tonumber(items[i + 1]) or false
  end
  return counts, items.err
end
