#!lua flags=no-writes
-- Reads the store's description and Redis's time in one step.
--
-- KEYS  meta, all buckets.
-- Reply the fields of meta, then for each bucket its summary and its length, then the time in microseconds since 1970.
--       The time is null if Redis denies TIME to this user.

local answer = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'epoch', 'version', 'count', 'digest', 'sealed',
  'announced', 'confirmed', 'replicas', 'store', 'name', 'adopted', 'unknown', 'source_mark', 'source_version',
  'source_max_age')
for i = 2, #KEYS do
  answer[#answer + 1] = redis.call('HGET', KEYS[i], 'summary')
  answer[#answer + 1] = redis.call('HLEN', KEYS[i])
end
local time = redis.pcall('TIME')
answer[#answer + 1] = not time.err and string.format('%.0f', time[1] * 1000000 + time[2])
return answer
