#!lua flags=allow-oom
-- Returns the envelopes of claims whose lease has ended.
--
-- KEYS  workers, list 0, dead, failures, bytes of dead letters, bytes, later, stats, the list of suspects.
-- ARGV  beginning of a claim's key, maximum envelopes, deaths after which an envelope is dead, slots of a worker, age
--       in ms at which a worker without claims is forgotten, this worker's lease in ms, the number of the list of
--       suspects.
-- Reply returned envelopes, envelopes that became dead letters, ended claims, 1 if there is more to do, forgotten
--       workers, and the flaws of keys that were changed by another program or by hand.

-- include now.lua
-- include id_of.lua
-- include object.lua
-- include clock.lua
-- include grace.lua
-- include header_line.lua
-- include header.lua
-- include failures_of.lua
-- include note.lua
-- include bury.lua
-- include add_bytes.lua
-- include most_large_bytes.lua

local suspects_list = table.remove(KEYS)
local stats = table.remove(KEYS)
local later = table.remove(KEYS)
local workers, pending, dead, failures, dead_bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- Bytes moved to list 0, to the suspects, and in total.
local returned_bytes, suspect_bytes, moved_bytes = 0, 0, 0
local prefix, most, most_deaths = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local slots, age = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('LLEN', pending)
redis.call('LLEN', suspects_list)
redis.call('XLEN', dead)
redis.call('ZCARD', dead_bytes)
redis.call('HLEN', failures)
redis.call('ZCARD', later)
local at, back, buried, lists, more, forgotten, strange = now(), 0, 0, 0, 0, 0, {}
local _, stepped_at = clock(stats, later, at, tonumber(ARGV[6]))
local entries = redis.call('HGETALL', workers)
for i = 1, #entries, 2 do
  local worker, claims = entries[i], 0
  for slot = 0, slots - 1 do
    local claim = prefix .. worker .. ':' .. slot
    local first = redis.pcall('LINDEX', claim, 0)
    if type(first) == 'table' then
      strange[#strange + 1] = claim .. ': ' .. first.err
      claims = claims + 1
    elseif first then
      local h = header(first)
      if h and h.instance ~= '' and (h.lease_until > at or at - stepped_at < grace(h.lease)) then
        if h.lease_until - at > h.lease then
          redis.call('LSET', claim, 0, header_line(
            h.worker, h.instance, h.batch, at + h.lease, math.min(h.claimed_at, at), h.count, h.lease))
        end
        claims = claims + 1
      else
        if h then
          -- After this the claim has no owner.
          redis.call('LSET', claim, 0, header_line(h.worker, '', h.batch, 0, h.claimed_at, h.count, h.lease))
        else
          strange[#strange + 1] = claim .. ': no header'
        end
        local left = redis.call('LLEN', claim) - (h and 1 or 0)
        while left > 0 and back + buried < most and moved_bytes < most_large_bytes do
          local envelope = redis.call('LMOVE', claim, h and suspects_list or pending, 'RIGHT', 'RIGHT')
          local f
          if h then
            f = failures_of(failures, id_of(envelope)) or { attempts = 0, deaths = 0, first_at = at }
            f.deaths = f.deaths + 1
          end
          if f and f.deaths >= most_deaths then
            redis.call('RPOP', suspects_list)
            bury(dead, dead_bytes, failures, envelope, 'worker died ' .. f.deaths .. ' times', h.worker, f, at)
            buried = buried + 1
          else
            if f then
              note(failures, id_of(envelope), f)
              suspect_bytes = suspect_bytes + #envelope
            else
              returned_bytes = returned_bytes + #envelope
            end
            back = back + 1
          end
          left, moved_bytes = left - 1, moved_bytes + #envelope
        end
        if left == 0 then
          redis.call('UNLINK', claim)
          lists = lists + 1
        else
          more = 1
          claims = claims + 1
        end
      end
    end
  end
  local owner = object(entries[i + 1])
  local seen_at = owner and tonumber(owner.seen_at) or 0
  if seen_at > at then
    -- The worker was seen before TIME went back. Its age is counted from now.
    redis.call('HSET', workers, worker,
      string.format('{"instance":"%s","seen_at":%.0f}', tostring(owner.instance), at))
  elseif claims == 0 and at - math.max(seen_at, stepped_at) > age then
    redis.call('HDEL', workers, worker)
    forgotten = forgotten + 1
  end
end
add_bytes(KEYS[6], 0, returned_bytes)
add_bytes(KEYS[6], ARGV[7], suspect_bytes)
if back > 0 then redis.pcall('HDEL', KEYS[6], 'next:0', 'next:' .. ARGV[7]) end
return { back, buried, lists, more, forgotten, strange }
