-- include parse.lua

-- Adds a record to the digests of its bucket and of all, or takes it out.
local function fold(id, record, bucket, total)
  local h = parse(redis.sha1hex(id .. record))
  for i = 1, 4 do bucket[i], total[i] = bit.bxor(bucket[i], h[i]), bit.bxor(total[i], h[i]) end
end
