#!lua flags=no-writes
-- Reads the content of a shard.
--
-- KEYS  later, dead, failures, workers, stats, then the pending lists with list 0 first.
-- ARGV  beginning of a claim's key, slots of a worker.
-- Reply Redis's time; the lengths of the pending lists; the numbers of entries in later, dead and failures; when the
--       oldest of the lists' next envelopes was received, or -1; for each worker its name, its instance and when it was
--       seen; for each claim its worker, slot, envelopes, instance, end of the lease and when it was claimed; done.

-- include now.lua
-- include object.lua
-- include header.lua

local at = now()
local later, dead, failures, workers, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lengths, received_at = {}, -1
for i = 6, #KEYS do
  lengths[#lengths + 1] = redis.call('LLEN', KEYS[i])
  local oldest = redis.call('LINDEX', KEYS[i], -1)
  local known = oldest and object(string.match(string.sub(oldest, 1, 65536), '^[^\n]*'))
  local came = known and tonumber(known.received_at)
  if came and (received_at < 0 or came < received_at) then received_at = came end
end
local claims = {}
local entries = redis.call('HGETALL', workers)
local names = {}
for i = 1, #entries, 2 do
  local owner = object(entries[i + 1]) or {}
  names[#names + 1] = { entries[i], tostring(owner.instance or ''), tonumber(owner.seen_at) or 0 }
  for slot = 0, tonumber(ARGV[2]) - 1 do
    local claim = ARGV[1] .. entries[i] .. ':' .. slot
    local first = redis.pcall('LINDEX', claim, 0)
    if type(first) == 'string' then
      local h = header(first)
      claims[#claims + 1] = {
        entries[i], slot, redis.call('LLEN', claim) - (h and 1 or 0), h and h.instance or '',
        -- Calculated as in the reaper.
        h and math.min(h.lease_until, at + h.lease) or 0, h and math.min(h.claimed_at, at) or 0 }
    end
  end
end
return {
  at, lengths, redis.call('ZCARD', later), redis.call('XLEN', dead), redis.call('HLEN', failures), received_at,
  names, claims, tonumber(redis.call('HGET', stats, 'done')) or 0 }
