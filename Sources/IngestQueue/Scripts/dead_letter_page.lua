#!lua flags=no-writes
-- Reads the next dead letters without their envelopes.
--
-- KEYS  dead.
-- ARGV  newest or oldest (the order), first and last (IDs of entries, or special IDs of XRANGE), maximum dead letters,
--       bytes after which no further one is read.
-- Reply 1 if these are the last, and for each dead letter its entry, its ID, the bytes of its element, and why it isn't
--       a dead letter (false if it is); then its reason, attempts, deaths, when it failed first, when it became a dead
--       letter, worker, and account or false.

-- include fields_of.lua
-- include element_of.lua
-- include flaw_in.lua

local range = ARGV[1] == 'newest' and 'XREVRANGE' or 'XRANGE'
local from, to, most, budget = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local letters, bytes = {}, 0
while #letters < most and bytes < budget do
  -- One at a time: so the size of each is known before the next is read.
  local entry = redis.call(range, KEYS[1], from, to, 'COUNT', 1)[1]
  if not entry then return { 1, letters } end
  from = '(' .. entry[1]
  local f, size = fields_of(entry)
  bytes = bytes + size
  local flaw = flaw_in(f)
  if flaw then
    local element = element_of(entry, f)
    letters[#letters + 1] = { entry[1], redis.sha1hex(element), #element, flaw }
  else
    letters[#letters + 1] = {
      entry[1], f.id, #f.envelope, false, string.sub(f.reason, 1, 4096), f.attempts, f.deaths, f.first_at, f.died_at,
      string.sub(f.worker, 1, 256), f.account and string.sub(f.account, 1, 1024) or false }
  end
end
return { 0, letters }
