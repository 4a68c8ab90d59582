-- Counts dead letters that were removed from the stream, and removes an empty stream with its sum.
local function count_taken(stats, field, count, dead, dead_bytes)
  if count == 0 then return end
  redis.call('HINCRBY', stats, field, count)
  if redis.call('XLEN', dead) == 0 then redis.call('UNLINK', dead, dead_bytes) end
end
