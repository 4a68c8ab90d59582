#!lua flags=allow-oom
-- Takes, renews or releases the lease for applying lists. Works on a full Redis.
--
-- KEYS  the lease.
-- ARGV  `take`, `renew` or `release`; the lease's present text (empty: none), its new text, its duration in
--       milliseconds.
-- Reply an empty text if it was done; otherwise the text of the present holder; null if the lease has ended.

local held = redis.call('GET', KEYS[1])
if held ~= ARGV[2] and (held or ARGV[1] ~= 'take') then return held end
if ARGV[1] == 'release' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
end
return ''
