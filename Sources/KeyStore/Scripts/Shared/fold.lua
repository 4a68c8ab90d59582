-- include parse.lua

-- Adds a record to the digests of its bucket and of the store, or removes it: both are the same XOR.
local function fold(id, record, bucket, total)
  local h = parse(redis.sha1hex(id .. record))
  for i = 1, 4 do bucket[i], total[i] = bit.bxor(bucket[i], h[i]), bit.bxor(total[i], h[i]) end
end
