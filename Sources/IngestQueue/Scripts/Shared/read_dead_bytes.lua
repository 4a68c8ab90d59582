-- The members and scores of `most` accounts and of the total.
local function read_dead_bytes(dead, dead_bytes, most)
  -- If the stream was deleted by hand, these counts are no longer valid.
  if redis.call('XLEN', dead) == 0 then return {} end
  return redis.call('ZRANGE', dead_bytes, 0, most, 'REV', 'WITHSCORES')
end
