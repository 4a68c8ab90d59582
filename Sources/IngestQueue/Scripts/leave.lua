#!lua flags=allow-oom
-- Removes a worker from the list of workers, unless it has claims or another instance has taken over its name.
--
-- KEYS  workers.
-- ARGV  beginning of a claim's key, worker, instance, slots of a worker.
-- Reply 1 if it was removed, otherwise 0.

-- include object.lua

local seen = redis.call('HGET', KEYS[1], ARGV[2])
local owner = seen and object(seen)
if not owner or owner.instance ~= ARGV[3] then return 0 end
for slot = 0, tonumber(ARGV[4]) - 1 do
  if redis.call('EXISTS', ARGV[1] .. ARGV[2] .. ':' .. slot) == 1 then return 0 end
end
return redis.call('HDEL', KEYS[1], ARGV[2])
