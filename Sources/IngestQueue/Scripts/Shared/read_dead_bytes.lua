-- Members and scores of `most` accounts, and of all together.
local function read_dead_bytes(dead, dead_bytes, most)
  -- Where the stream was deleted by hand, what is said of it is no longer so.
  if redis.call('XLEN', dead) == 0 then return {} end
  return redis.call('ZRANGE', dead_bytes, 0, most, 'REV', 'WITHSCORES')
end
