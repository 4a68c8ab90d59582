-- Finds steps of TIME. Live workers read TIME at least every half lease, or every 10 s. If the time between two
-- readings is much longer, or negative, TIME made a step, or no worker was alive. Then the real time is unknown. So the
-- clock of `later` stops during that interval, and no lease ends until live workers had time to extend theirs. The
-- state is kept in a field: when TIME was last read, how far the clock of `later` is behind it, and when the last step
-- was found. Returns the time on the clock of `later`, and when the last step was found.
local function clock(stats, later, at, lease)
  -- A key of the wrong type must not stop the caller.
  local known = redis.pcall('HGET', stats, 'clock')
  if type(known) ~= 'string' then known = '' end
  local read, behind, stepped_at = string.match(known, '^(%d+) (-?%d+) (%d+)$')
  read, behind, stepped_at = tonumber(read) or at, tonumber(behind) or 0, tonumber(stepped_at) or 0
  local before, passed, most = behind, at - read, math.max(math.min(lease * 2 / 3, 15000), 5000)
  local has_stepped = passed < 0 or passed > most
  if has_stepped then behind, stepped_at = behind + passed, at end
  -- No envelope waits, so nothing depends on this clock.
  if redis.call('ZCARD', later) == 0 then behind = 0 end
  -- Not at each call, because each write may be an fsync.
  if known == '' or has_stepped or passed > most / 3 or behind ~= before then
    redis.pcall('HSET', stats, 'clock', string.format('%.0f %.0f %.0f', at, behind, stepped_at))
  end
  return at - behind, stepped_at
end
