#!lua flags=allow-oom
-- Ends a claim: entries that aren't named are acknowledged and removed.
--
-- KEYS  claim, later, dead, failures, stats, bytes of dead letters, bytes, then the pending lists with list 0 first, and
--       last the accounts' bytes in later.
-- ARGV  instance, batch, worker, attempts after which an envelope is dead; then for each named entry, the last one
--       first: its index in the batch from 0, its disposition, a reason, a delay in ms. For an entry that returns to a
--       list: instead of the delay the list's number, and instead of the reason the number of a list that it goes to if
--       that one is shorter, or nothing.
-- Reply settled with the number that became dead letters | lost with the instance that has the claim | gone.

-- include now.lua
-- include id_of.lua
-- include clock.lua
-- include header.lua
-- include failures_of.lua
-- include note.lua
-- include bury.lua
-- include add_bytes.lua
-- include add_later_bytes.lua
-- include large_envelope.lua

-- Bytes of failed large envelopes that are retried in a millisecond: 2 MiB in a second.
local retried_bytes_per_millisecond = math.floor(2 * 1024 * 1024 / 1000)

local later_bytes = table.remove(KEYS)
local claim, later, dead, failures, stats, dead_bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local bytes_key, added = KEYS[7], {}
local instance, batch, worker, most = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local first = redis.call('LINDEX', claim, 0)
if not first then return { 'gone' } end
local h = header(first)
if not h or h.instance ~= instance or h.batch ~= batch then return { 'lost', h and h.instance or '' } end
for i = 8, #KEYS do redis.call('LLEN', KEYS[i]) end
redis.call('XLEN', dead)
redis.call('ZCARD', dead_bytes)
redis.call('ZCARD', later)
redis.call('HLEN', failures)
local at, buried, done = now(), 0, redis.call('LLEN', claim) - 1
local later_at
local function postpone(envelope, delay)
  later_at = later_at or clock(stats, later, at, h.lease)
  -- Each retry of a large envelope is written to the append-only file twice: here, and when it is due. The rate of all
  -- large retries is limited, so that Redis has time for other commands.
  if #envelope > large_envelope then
    local waiting = (tonumber(redis.pcall('HGET', bytes_key, 'later')) or 0) + (added.later or 0)
    delay = math.max(delay, (waiting + #envelope) / retried_bytes_per_millisecond)
  end
  -- An envelope that is already in `later` isn't added again.
  if redis.call('ZADD', later, string.format('%.0f', later_at + delay), envelope) == 1 then
    added.later = (added.later or 0) + #envelope
    add_later_bytes(later_bytes, envelope, 1)
  end
end
for i = 5, #ARGV, 4 do
  local place, fate, reason, delay = tonumber(ARGV[i]) + 1, ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
  if fate == 'back' or fate == 'aside' then
    if redis.call('LLEN', claim) > place then
      -- Moved, so that the payload isn't written to the append-only file once more. The entries after it are already
      -- settled.
      redis.call('LTRIM', claim, 0, place)
      local list, other = delay, tonumber(reason)
      if other and redis.call('LLEN', KEYS[8 + other]) < redis.call('LLEN', KEYS[8 + list]) then list = other end
      -- Claims take from the right. What is set aside goes behind all others: in front of them, claims would find the
      -- same entries again and again.
      local envelope = redis.call('LMOVE', claim, KEYS[8 + list], 'RIGHT', fate == 'aside' and 'LEFT' or 'RIGHT')
      added[list] = (added[list] or 0) + #envelope
      done = done - 1
    end
  else
    local envelope = redis.call('LINDEX', claim, place)
    local id = envelope and id_of(envelope)
    if not envelope then
      -- The envelope was deleted by hand.
    elseif fate == 'clear' then
      redis.call('HDEL', failures, id)
    elseif fate == 'postpone' then
      postpone(envelope, delay)
      done = done - 1
    else
      local f = failures_of(failures, id) or { attempts = 0, deaths = 0, first_at = at }
      f.attempts = f.attempts + 1
      if fate == 'dead' or f.attempts >= most then
        bury(dead, dead_bytes, failures, envelope, reason, worker, f, at)
        buried = buried + 1
      else
        note(failures, id, f)
        postpone(envelope, delay)
      end
      done = done - 1
    end
  end
end
redis.call('UNLINK', claim)
-- Last, and errors are ignored: counting must not prevent settling.
if done > 0 then redis.pcall('HINCRBY', stats, 'done', done) end
for field, bytes in pairs(added) do
  add_bytes(bytes_key, field, bytes)
  -- Now another envelope is the list's next one.
  if field ~= 'later' then redis.pcall('HDEL', bytes_key, 'next:' .. field) end
end
return { 'settled', buried }
