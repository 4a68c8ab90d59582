#!lua flags=allow-oom
-- Removes dead letters, readable or not.
--
-- KEYS  dead, stats, bytes of dead letters.
-- ARGV  bytes after which no further one is removed, then entries.
-- Reply for each that was examined: 1 removed, 0 gone.

-- include fields_of.lua
-- include flaw_in.lua
-- include add_dead_bytes.lua
-- include count_taken.lua

local dead, stats, dead_bytes = KEYS[1], KEYS[2], KEYS[3]
redis.call('XLEN', dead)
redis.call('HLEN', stats)
redis.call('ZCARD', dead_bytes)
local outcomes, removed, bytes = {}, 0, 0
for i = 2, #ARGV do
  if bytes >= tonumber(ARGV[1]) then break end
  local entry = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  local outcome = 0
  if entry then
    local f, size = fields_of(entry)
    redis.call('XDEL', dead, entry[1])
    -- Entries that were added by hand were never counted.
    if not flaw_in(f) then add_dead_bytes(dead_bytes, f.account, -size) end
    outcome, removed, bytes = 1, removed + 1, bytes + size
  end
  outcomes[#outcomes + 1] = outcome
end
count_taken(stats, 'discarded', removed, dead, dead_bytes)
return outcomes
