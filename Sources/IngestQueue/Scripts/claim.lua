#!lua flags=allow-oom
-- Moves envelopes from the pending lists into a worker's slot.
--
-- Lists take turns, and the first list changes with the number of the claim. In its turn a list gives its share of the
-- claim's remaining room, in count and in bytes. The other lists share the room that it doesn't use. So with k lists
-- that aren't empty, each gives at least a k-th of a claim, rounded down, if it has that many. Whatever the sizes, the
-- first list gives at least one envelope, and among as many claims as there are lists, each list is first once. Large
-- envelopes (more than 1 MiB) may use 8 MiB of a claim together; a single one may be larger.
--
-- Accounts take turns in the list of suspects. The caller says whose suspects are passed over: they go behind all
-- others of their list. It also says whose suspects are apart: a claim with one of these has no other account's
-- suspects.
--
-- Each envelope is moved by its own LMOVE, although a script could move many with one command. So the size of an
-- envelope is known before the next one is touched, and the append-only file gets a move instead of a second copy of
-- the payload.
--
-- KEYS  claim, workers, failures, later, dead, bytes of dead letters, bytes, then the pending lists with list 0 first
--       and the suspects last, then stats, and last the accounts' bytes in later.
-- ARGV  worker, instance, batch, lease in ms, maximum envelopes, maximum bytes, largest envelope, maximum suspects (0
--       for none), deaths after which an envelope is dead, 1 if this instance begins and takes over the name, 1 if a
--       single envelope in the slot becomes a dead letter, bytes above which a payload goes to one of its account's own
--       lists; then for each of the accounts' own lists the maximum envelopes from it; then the number of accounts
--       whose suspects are passed over, their names, and the names of accounts whose suspects are apart.
-- Reply claimed with the batch, the end of the lease, the envelopes, the earlier failures of each (empty if nothing in
--       the shard has failed), and the list of each (empty if the claim is handed out again) | held with the instance
--       and the end of its lease: the slot has another instance's claim | supplanted with the instance that has this
--       worker's name | passed with the number of suspects that were passed over, and of those that wait: no other
--       suspect was found | empty.

-- include now.lua
-- include object.lua
-- include clock.lua
-- include header_line.lua
-- include header.lua
-- include failures_of.lua
-- include id_of.lua
-- include account_of.lua
-- include bury.lua
-- include add_bytes.lua
-- include read_bytes.lua
-- include keep_bytes.lua
-- include add_later_bytes.lua
-- include large_envelope.lua
-- include most_large_bytes.lua

-- The age in milliseconds at which a worker's registration is written again. A write for every poll of an idle worker
-- would be too expensive: with `appendfsync always` each is an fsync.
local registration_age = 5000

-- Maximum suspects that one run passes over. Redis answers no other command during the run.
local most_passed = 500

local later_bytes = table.remove(KEYS)
local stats = table.remove(KEYS)
-- It is counted like any other list, but takes no turns with them.
local suspects_list = KEYS[#KEYS]
local claim, workers, failures, later, dead, dead_bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local bytes_key = KEYS[7]
local worker, instance, batch, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most, most_bytes, largest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local suspects, most_deaths, begins = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
local gives_up, large_payload, own_limits = ARGV[11] == '1', tonumber(ARGV[12]), 12
local at = now()
local lists, first_list = #KEYS - 7, KEYS[8]
-- The accounts' own lists are all but list 0 and the suspects.
local turns = own_limits + lists - 1
local passes, apart, has_turns = {}, {}, #ARGV > turns
for i = turns + 1, #ARGV do
  if i <= turns + tonumber(ARGV[turns]) then passes[ARGV[i]] = true else apart[ARGV[i]] = true end
end
local lengths = {}
for i = 0, lists - 1 do lengths[i] = redis.call('LLEN', KEYS[8 + i]) end
redis.call('XLEN', dead)
redis.call('ZCARD', dead_bytes)
local any = redis.call('HLEN', failures) > 0

local seen = redis.call('HGET', workers, worker)
local owner = seen and object(seen)
if owner and owner.instance ~= instance and not begins then
  return { 'supplanted', tostring(owner.instance) }
end
local function register()
  redis.call('HSET', workers, worker, string.format('{"instance":"%s","seen_at":%.0f}', instance, at))
end

if begins then register() end
local later_at = at
if begins or redis.call('ZCARD', later) > 0 then later_at = clock(stats, later, at, lease) end

local function failing(envelope) return any and failures_of(failures, id_of(envelope)) or nil end

local first = redis.call('LINDEX', claim, 0)
if first then
  local h = header(first)
  if not h or h.instance ~= instance then
    return { 'held', h and h.instance or '', h and h.lease_until or 0 }
  end
  -- The slot has this worker's claim, and the reply was lost. The claim is handed out again, but only as much as the
  -- current limits allow: less than before if Redis closed the connection on the reply.
  register()
  local envelopes, known = redis.call('LRANGE', claim, 1, -1), {}
  local fitting, size, back = 0, 0, 0
  for i = 1, #envelopes do
    size = size + #envelopes[i]
    if i > 1 and size > most_bytes then break end
    fitting = i
  end
  for i = #envelopes, fitting + 1, -1 do
    back = back + #envelopes[i]
    redis.call('LMOVE', claim, first_list, 'RIGHT', 'RIGHT')
    envelopes[i] = nil
  end
  if back > 0 then add_bytes(bytes_key, 0, back) end
  if gives_up and #envelopes == 1 then
    redis.call('UNLINK', claim)
    local f = failures_of(failures, id_of(envelopes[1])) or { attempts = 0, deaths = 0, first_at = at }
    local reason = string.format(
      '%d bytes, over which Redis closed the connection each time it handed them out: see client-output-buffer-limit',
      #envelopes[1])
    bury(dead, dead_bytes, failures, envelopes[1], reason, worker, f, at)
    return { 'empty' }
  end
  redis.call('LSET', claim, 0,
    header_line(worker, instance, h.batch, at + lease, math.min(h.claimed_at, at), #envelopes, lease))
  for i = 1, any and #envelopes or 0 do
    local f = failing(envelopes[i])
    known[i] = f and f.attempts + f.deaths or 0
  end
  return { 'claimed', h.batch, at + lease, envelopes, known, {} }
end

-- Due retries. While other envelopes wait, retries get at most half of list 0's share, so that envelopes that fail
-- again and again delay no others. If half is less than one, a retry is moved in every second claim.
local waiting = 0
for i = 0, lists - 1 do
  if i == 0 or lengths[i] > 0 then waiting = waiting + 1 end
end
local most_due, most_due_bytes = most, most_bytes
if waiting > 1 or lengths[0] > 0 then
  most_due, most_due_bytes = math.max(math.floor(most / (2 * waiting)), batch % 2), most_bytes / (2 * waiting)
end
local returned, bytes = 0, 0
-- By the lists' numbers: the counted bytes, the change in this run, and the next envelope's size if known.
local counts, added, next_sizes = read_bytes(bytes_key), {}, {}
for i = 0, lists - 1 do next_sizes[i] = counts['next:' .. i] or nil end
while returned < most_due and bytes < most_due_bytes do
  local due = redis.call('ZRANGE', later, '-inf', string.format('%.0f', later_at), 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not due then break end
  -- Removed by its position: ZREM would write the whole envelope into the append-only file once more.
  redis.call('ZPOPMIN', later)
  add_later_bytes(later_bytes, due, -1)
  local f = failing(due)
  local list = f and f.deaths > 0 and lists - 1 or 0
  -- A suspect goes behind the other suspects, of which some haven't been tried yet. Any other envelope is next.
  if list == 0 then
    redis.call('RPUSH', KEYS[8 + list], due)
  else
    redis.call('LPUSH', KEYS[8 + list], due)
  end
  returned, bytes = returned + 1, bytes + #due
  lengths[list], added[list] = lengths[list] + 1, (added[list] or 0) + #due
  next_sizes[list] = nil
end

-- Lists that aren't empty, in the order of their turns. If suspects may be claimed and there are any: only their list.
local open, suspicious = {}, suspects > 0 and lengths[lists - 1] > 0
for i = 0, lists - 2 do
  local list = (batch + i) % (lists - 1)
  if lengths[list] > 0 and not suspicious then open[#open + 1] = KEYS[8 + list] end
end

local envelopes, known = {}, {}
-- The number of moved envelopes. Envelopes that were moved to another list count too, so that this loop ends.
local moved, full = 0, false
-- By the lists' keys: their numbers, and how many more envelopes may be moved. For each envelope: its list's number.
local numbers, left, from = { [first_list] = 0 }, { [first_list] = most }, {}
for i = 1, lists - 1 do
  numbers[KEYS[8 + i]], left[KEYS[8 + i]] = i, i < lists - 1 and tonumber(ARGV[own_limits + i]) or most
end

local returned_bytes = bytes
local function has_left(list, envelope)
  local number = numbers[list]
  lengths[number], added[number] = lengths[number] - 1, (added[number] or 0) - #envelope
  next_sizes[number] = nil
end
local function count_bytes()
  local filled, later_length = {}, redis.call('ZCARD', later)
  for i = 0, lists - 1 do
    if lengths[i] > 0 then
      filled[tostring(i)] = {
        key = KEYS[8 + i], length = lengths[i], added = added[i] or 0, next_size = next_sizes[i] }
    end
  end
  -- Nothing waits for a retry, so whatever is counted is wrong: the set was edited by hand.
  if later_length == 0 and any then redis.pcall('UNLINK', later_bytes) end
  if later_length > 0 then filled.later = { key = later, length = later_length, added = -returned_bytes } end
  keep_bytes(bytes_key, filled)
end

-- Bytes of the large envelopes that were moved so far.
local large_bytes = 0
local function fits(size)
  return #envelopes == 0 or bytes + size <= most_bytes
    and (size <= large_envelope or large_bytes == 0 or large_bytes + size <= most_large_bytes)
end

-- The size of a list's next envelope, if known or estimated; 0 if it may be small.
local function next_size(number)
  if next_sizes[number] then return next_sizes[number] end
  local average = ((counts[tostring(number)] or 0) + (added[number] or 0)) / lengths[number]
  return average > large_payload and average or 0
end

local function was_put_back(number, size)
  if size > large_payload then next_sizes[number] = size end
  -- Only one large envelope may be moved in vain, because Redis answers no other command during the move.
  if size > large_envelope then full = true end
end

-- The number and bytes of the suspects that were passed over.
local passed, passed_bytes = 0, 0

-- Moves suspects that are passed over behind all others, until another one is next. Returns whether one is, and its
-- account.
local function pass_over()
  while true do
    local envelope = redis.call('LINDEX', suspects_list, -1)
    local account = envelope and account_of(envelope) or ''
    if not passes[account] then return true, account end
    -- All have been looked at, or Redis has answered no other command for long enough.
    if passed >= math.min(most_passed, lengths[lists - 1]) or passed_bytes >= most_large_bytes then return false end
    redis.call('LMOVE', suspects_list, suspects_list, 'RIGHT', 'LEFT')
    next_sizes[lists - 1] = nil
    passed, passed_bytes = passed + 1, passed_bytes + #envelope
  end
end

-- The account of the claim's first suspect.
local first_account
-- Whether a suspect of this account may be in the claim.
local function goes_with(account)
  return #envelopes == 0 or account == first_account or not (apart[account] or apart[first_account])
end

-- Moves a list's share. Returns whether the list may give more to this claim.
local function turn(list, share, byte_share)
  local taken, taken_bytes, number, was_small = 0, 0, numbers[list], false
  while taken < share and taken_bytes < byte_share and lengths[number] > 0 do
    local account
    if suspicious and has_turns then
      local is_next
      is_next, account = pass_over()
      if not is_next or not goes_with(account) then return false end
      first_account = #envelopes == 0 and account or first_account
    end
    local size = was_small and next_sizes[number] == nil and 0 or next_size(number)
    if not fits(size) then return false end
    if taken > 0 and taken_bytes + size > byte_share then return true end
    local envelope = redis.call('LMOVE', list, claim, 'RIGHT', 'RIGHT')
    if not envelope then return false end
    local f = failing(envelope)
    local deaths = f and f.deaths or 0
    -- A suspect is claimed alone if one more death would make it a dead letter.
    local alone = deaths > 0 and deaths + 1 >= most_deaths
    if #envelope > largest then
      redis.call('RPOP', claim)
      local reason = string.format('%d bytes, more than a worker takes (%.0f)', #envelope, largest)
      bury(dead, dead_bytes, failures, envelope, reason, worker, { attempts = 0, deaths = 0, first_at = at }, at)
      has_left(list, envelope)
      taken, moved = taken + 1, moved + 1
    elseif deaths > 0 and not suspicious then
      -- A suspect. It goes behind the suspects that were moved before.
      redis.call('LMOVE', claim, suspects_list, 'RIGHT', 'LEFT')
      has_left(list, envelope)
      lengths[lists - 1], added[lists - 1] = lengths[lists - 1] + 1, (added[lists - 1] or 0) + #envelope
      taken, moved = taken + 1, moved + 1
      if #envelope > large_envelope then
        -- Redis has answered no other command for long enough.
        full = true
        return false
      end
    elseif alone and #envelopes > 0 or not fits(#envelope) then
      redis.call('LMOVE', claim, list, 'RIGHT', 'RIGHT')
      was_put_back(number, #envelope)
      return false
    elseif taken > 0 and taken_bytes + #envelope > byte_share then
      redis.call('LMOVE', claim, list, 'RIGHT', 'RIGHT')
      was_put_back(number, #envelope)
      return true
    else
      envelopes[#envelopes + 1] = envelope
      if any then known[#envelopes] = f and f.attempts + f.deaths or 0 end
      from[#envelopes] = numbers[list]
      has_left(list, envelope)
      taken, moved = taken + 1, moved + 1
      taken_bytes, bytes = taken_bytes + #envelope, bytes + #envelope
      was_small = #envelope <= large_payload
      if #envelope > large_envelope then large_bytes = large_bytes + #envelope end
      if alone then
        full = true
        return false
      end
    end
  end
  return lengths[number] > 0
end

bytes = 0
if suspicious then open, most = { suspects_list }, math.min(most, suspects) end
while #open > 0 and not full do
  local share = math.max(math.floor((most - moved) / #open), 1)
  local byte_share = (most_bytes - bytes) / #open
  local still = {}
  for _, list in ipairs(open) do
    if moved >= most or bytes >= most_bytes then full = true end
    if full then break end
    local share, before = math.min(share, most - moved, left[list]), moved
    if share > 0 and turn(list, share, byte_share) then still[#still + 1] = list end
    left[list] = left[list] - (moved - before)
  end
  open = still
end

count_bytes()
if #envelopes == 0 then
  local age = owner and math.abs(at - (tonumber(owner.seen_at) or 0))
  if not begins and (not age or age > registration_age) then register() end
  if passed > 0 then return { 'passed', passed, lengths[lists - 1] } end
  return { 'empty' }
end
redis.call('LPUSH', claim, header_line(worker, instance, batch, at + lease, at, #envelopes, lease))
register()
return { 'claimed', batch, at + lease, envelopes, known, from }
