#!lua flags=allow-oom
-- Requeues dead letters as if they had never failed.
--
-- KEYS  dead, failures, stats, bytes of dead letters, bytes, then the pending lists with list 0 first.
-- ARGV  bytes after which no further one is moved, maximum length of list 0 for a payload to go there; then for each
--       dead letter its entry and the two lists of its account.
-- Reply for each that was examined: 1 moved, 0 gone, -1 not readable, stays.

-- include fields_of.lua
-- include flaw_in.lua
-- include add_dead_bytes.lua
-- include count_taken.lua
-- include add_bytes.lua

local dead, failures, stats, dead_bytes, bytes_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- A key of the wrong type ends the script here, before anything is written.
redis.call('XLEN', dead)
redis.call('HLEN', failures)
redis.call('HLEN', stats)
redis.call('ZCARD', dead_bytes)
for i = 6, #KEYS do redis.call('LLEN', KEYS[i]) end
local outcomes, moved, bytes = {}, 0, 0
local function length(list) return redis.call('LLEN', KEYS[6 + list]) end
for i = 3, #ARGV, 3 do
  if bytes >= tonumber(ARGV[1]) then break end
  local entry = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  local outcome = 0
  if entry then
    local f, size = fields_of(entry)
    if flaw_in(f) then
      outcome = -1
    else
      local list, other = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
      if length(0) < tonumber(ARGV[2]) then list = 0 elseif length(other) < length(list) then list = other end
      redis.call('LPUSH', KEYS[6 + list], f.envelope)
      add_bytes(bytes_key, list, #f.envelope)
      redis.call('HDEL', failures, f.id)
      redis.call('XDEL', dead, entry[1])
      add_dead_bytes(dead_bytes, f.account, -size)
      outcome, moved = 1, moved + 1
    end
    bytes = bytes + size
  end
  outcomes[#outcomes + 1] = outcome
end
count_taken(stats, 'requeued', moved, dead, dead_bytes)
return outcomes
