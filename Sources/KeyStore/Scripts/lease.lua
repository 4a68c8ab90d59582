#!lua flags=allow-oom
-- Takes, renews or gives up the lease that lists take turns by. Works on a full Redis.
--
-- KEYS  the lease.
-- ARGV  `take`, `renew` or `release`; the lease's text until now (empty: none), its new text, for how many milliseconds.
-- Reply an empty text if it was done, else the text of whoever has the lease; null if nobody has it any more.

local held = redis.call('GET', KEYS[1])
if held ~= ARGV[2] and (held or ARGV[1] ~= 'take') then return held end
if ARGV[1] == 'release' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return ''
