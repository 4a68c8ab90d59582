#!lua flags=no-writes
-- Reads the store's description in one step.
--
-- KEYS  meta, all buckets.
-- Reply the fields of meta, then for each bucket its summary and its length.

local answer = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'epoch', 'version', 'count', 'digest', 'sealed',
  'announced', 'confirmed', 'replicas', 'store', 'name', 'adopted', 'unknown', 'source_mark', 'source_version',
  'source_max_age')
for i = 2, #KEYS do
  answer[#answer + 1] = redis.call('HGET', KEYS[i], 'summary')
  answer[#answer + 1] = redis.call('HLEN', KEYS[i])
end
return answer
