-- Records an envelope's failures so far.
local function note(key, id, f)
  redis.call('HSET', key, id, string.format(
    '{"attempts":%.0f,"deaths":%.0f,"first_at":%.0f}', f.attempts, f.deaths, f.first_at))
end
