#!lua flags=allow-oom
-- Extends a claim's lease, counted from now. Also if the lease has ended but no other worker has taken the claim.
--
-- KEYS  claim.
-- ARGV  instance, batch, lease in ms.
-- Reply extended with the end of the lease | lost with the instance that has the claim | gone.

-- include now.lua
-- include header_line.lua
-- include header.lua

local first = redis.call('LINDEX', KEYS[1], 0)
if not first then return { 'gone' } end
local h = header(first)
if not h or h.instance ~= ARGV[1] or h.batch ~= tonumber(ARGV[2]) then
  return { 'lost', h and h.instance or '' }
end
local at, lease = now(), tonumber(ARGV[3])
local lease_until = at + lease
redis.call('LSET', KEYS[1], 0,
  header_line(h.worker, h.instance, h.batch, lease_until, math.min(h.claimed_at, at), h.count, lease))
return { 'extended', lease_until }
