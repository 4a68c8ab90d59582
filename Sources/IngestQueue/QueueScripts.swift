// The consumer's half of the queue, as scripts that Redis runs: each is one atomic step.
//
// Invariants, for whoever changes one:
// - An envelope is at every moment in exactly one of: one pending list, `later`, `dead`, one claim. A script takes it out of one and
//   puts it into another in the same run; acknowledging is the only way out.
// - What comes back (failed and due again, put back) goes to the end of list 0 from which is taken; suspects to the
//   list of suspects.
// - The list of a claim is the truth about it. There is no index of leases that could disagree with it: the header, its first
//   element, says whose it is and until when. It is written after the envelopes are there; a list without a valid header can
//   only be the work of another hand, and what is in it is treated as envelopes.
// - Whoever changes a claim shows instance and batch of its header. The reaper overwrites them before it takes anything out,
//   so that a worker whose lease ended finds out, and can't settle half a batch.
// - Time is Redis's own TIME, so the clocks of the workers' machines play no part in leases. It may make steps, forward
//   and back, also because after a failover it is another server's; see `clock` below.
// - `allow-oom`, because what empties the queue must work when Redis is full. None of them makes the data much larger: they move it.
// - What is read comes before what is written wherever a wrong type of key could end the script in its middle.
//
// An envelope that was in the hands of a worker that died is a suspect: it may be what killed it. Suspects are claimed
// by one lane of a worker only and with nothing else: in a small group at first, because most were only near it, and
// alone once one more death would make a dead letter, so that one poisonous envelope can't take its neighbours along.
// They wait in a list of their own. A claim that meets one elsewhere moves it there. At the end of list 0, where they
// used to wait, everybody's small payloads waited behind them, and for as long as a receiver didn't answer to them.
//
// Redis answers nobody while a script runs, and to move a payload of 16 MiB or read it takes tens of milliseconds. So a
// list whose next envelope is too large for what is left of a claim isn't touched. Its size is known where an earlier
// claim had to put it back, or guessed from the list's average. A wrong guess costs no more than a claim or a few: a
// list that begins always gives one.

internal import RedisClient

enum QueueScripts {
  /// Functions that several scripts use.
  private static let prelude = #"""
    local function now()
      local t = redis.call('TIME')
      return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
    end

    -- An element that is no envelope is known by its hash.
    local function id_of(envelope)
      if string.sub(envelope, 1, 7) == '{"id":"' and string.sub(envelope, 44, 44) == '"' then
        return string.sub(envelope, 8, 43)
      end
      return redis.sha1hex(envelope)
    end

    local function object(text)
      local good, value = pcall(cjson.decode, text)
      if good and type(value) == 'table' then return value end
    end

    -- Finds steps of TIME. Live workers read it at least every half lease, or 10 s. When the time between two readings is
    -- much longer, or negative, TIME made a step, or no worker was there. How much time really passed isn't known then. So
    -- the clock of `later` stands still for it, and no lease has ended until live workers had the time to extend theirs.
    -- What is known is kept in a field: when TIME was last read, how far the clock of `later` is behind it, and when the
    -- last step was found. Answers the time on the clock of `later`, and when the last step was found.
    local function clock(stats, later, at, lease)
      -- A spoilt key of statistics is in nobody's way.
      local known = redis.pcall('HGET', stats, 'clock')
      if type(known) ~= 'string' then known = '' end
      local read, behind, stepped_at = string.match(known, '^(%d+) (-?%d+) (%d+)$')
      read, behind, stepped_at = tonumber(read) or at, tonumber(behind) or 0, tonumber(stepped_at) or 0
      local before, passed, most = behind, at - read, math.max(math.min(lease * 2 / 3, 15000), 5000)
      local has_stepped = passed < 0 or passed > most
      if has_stepped then behind, stepped_at = behind + passed, at end
      -- Nothing goes by it.
      if redis.call('ZCARD', later) == 0 then behind = 0 end
      -- Not at each call, since each write may be an fsync.
      if known == '' or has_stepped or passed > most / 3 or behind ~= before then
        redis.pcall('HSET', stats, 'clock', string.format('%.0f %.0f %.0f', at, behind, stepped_at))
      end
      return at - behind, stepped_at
    end

    -- For so long after a step no lease has ended. Live workers extend theirs every third of a lease, or 10 s.
    local function grace(lease) return math.min(lease / 2, 15000) end

    -- The lease's length is in it too: when TIME goes back, a lease that would last for longer is cut to its length.
    local function header_line(worker, instance, batch, lease_until, claimed_at, count, lease)
      return string.format(
        '{"worker":"%s","instance":"%s","batch":%.0f,"lease_until":%.0f,"claimed_at":%.0f,"count":%.0f,"lease":%.0f}',
        worker, instance, batch, lease_until, claimed_at, count, lease)
    end

    local function header(line)
      if not line or #line > 512 or string.sub(line, 1, 11) ~= '{"worker":"' then return nil end
      local h = object(line)
      if h and type(h.worker) == 'string' and type(h.instance) == 'string' and type(h.batch) == 'number'
        and type(h.lease_until) == 'number' and type(h.claimed_at) == 'number' and type(h.count) == 'number' then
        -- Of an older build: the longest lease that a worker can have.
        h.lease = tonumber(h.lease) or 3600000
        return h
      end
    end

    -- What went wrong with an envelope so far, or nil.
    local function failures_of(key, id)
      local text = redis.call('HGET', key, id)
      local f = text and object(text)
      if not f then return nil end
      return {
        attempts = tonumber(f.attempts) or 0, deaths = tonumber(f.deaths) or 0, first_at = tonumber(f.first_at) or 0 }
    end

    local function note(key, id, f)
      redis.call('HSET', key, id, string.format(
        '{"attempts":%.0f,"deaths":%.0f,"first_at":%.0f}', f.attempts, f.deaths, f.first_at))
    end

    local function bury(dead, dead_bytes, failures, envelope, reason, worker, f, at)
      local id = id_of(envelope)
      local entry = {
        'id', id, 'reason', reason, 'attempts', string.format('%.0f', f.attempts),
        'deaths', string.format('%.0f', f.deaths), 'first_at', string.format('%.0f', f.first_at),
        'died_at', string.format('%.0f', at), 'worker', worker }
      local line_end = string.find(string.sub(envelope, 1, 65536), '\n', 1, true)
      local known = line_end and object(string.sub(envelope, 1, line_end - 1))
      if known and type(known.account) == 'string' then
        entry[#entry + 1] = 'account'
        entry[#entry + 1] = known.account
      end
      entry[#entry + 1] = 'envelope'
      entry[#entry + 1] = envelope
      -- Somebody may have deleted the stream by hand.
      if redis.call('XLEN', dead) == 0 then redis.call('UNLINK', dead_bytes) end
      redis.call('XADD', dead, '*', unpack(entry))
      local bytes = 0
      for _, part in ipairs(entry) do bytes = bytes + #part end
      add_dead_bytes(dead_bytes, known and known.account, bytes)
      redis.call('HDEL', failures, id)
    end

    """#

  private static func script(_ name: String, flags: String = "allow-oom", _ body: String) -> RedisScript {
    RedisScript(
      name: name, source: "#!lua flags=\(flags)\n" + DeadLetterBytes.function + QueueBytes.functions + prelude + body)
  }

  /// How old a registration may get before its worker writes it anew, in milliseconds: an idle worker mustn't cost a
  /// write, so with `appendfsync always` an fsync, for every look.
  private static let registrationAge = 5_000

  /// An envelope of more bytes than this is large.
  private static let largeBytes = 1 << 20
  /// How much of the large envelopes that failed is tried again in a millisecond: 2 MiB in a second.
  private static let retriedBytesPerMillisecond = (2 << 20) / 1_000
  /// Bytes of large envelopes that one run of a script moves, unless it is one envelope.
  private static let mostLargeBytes = 8 << 20

  /// Moves envelopes from the pending lists into a worker's slot.
  ///
  /// The lists have their turns, and the one that begins moves on with the number of the claim. In a turn a list gives
  /// its share of what there is still room for, in count and in bytes; what it doesn't fill is shared anew among the others. So
  /// of k lists that aren't empty each gets at least a k-th of a claim, rounded down, as far as it has so much; and whatever the
  /// sizes, the one that begins gives at least one envelope, which each list does once in as many claims as there are lists.
  /// Large envelopes, of more than 1 MiB, have 8 MiB of a claim in all, or there is one.
  ///
  /// LMOVE one by one, though a script could move many in one command: only so is the size known before the next one is
  /// touched, and the append-only file gets a move and not a second copy of the payload.
  ///
  /// KEYS claim, workers, failures, later, dead, bytes of dead letters, bytes, then the pending lists with list 0
  /// first and the suspects last, and last stats.
  /// ARGV worker, instance, batch, lease in ms, most envelopes, most bytes, largest envelope, most suspects (0 where
  /// none may be taken), deaths after which an envelope is dead, 1 where this instance begins and takes the name over,
  /// 1 where a single envelope that the slot holds is given up; then for each list that is accounts' own the most
  /// envelopes from it.
  /// Answers `claimed` with the batch, the end of the lease, the envelopes, how often each was tried, and from which
  /// list each came.
  static let claim = script(
    "claim",
    #"""
    local stats = table.remove(KEYS)
    -- As any other list to all that counts; not to the turns.
    local suspects_list = KEYS[#KEYS]
    local claim, workers, failures, later, dead, dead_bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
    local bytes_key = KEYS[7]
    local worker, instance, batch, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
    local most, most_bytes, largest = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
    local suspects, most_deaths, begins = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
    local at = now()
    local lists, first_list = #KEYS - 7, KEYS[8]
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
      -- Ours, and not in our hands: the answer to an earlier claim was lost. It is handed out again.
      -- Only as much of it as is taken now: less than before where Redis closed the connection over the answer.
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
      if ARGV[11] == '1' and #envelopes == 1 then
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

    -- What is due again. While others wait, at most half of list 0's share, so that envelopes that fail again and again hold up nobody in it;
    -- where that is less than one, one in every second claim.
    local waiting = 0
    for i = 0, lists - 1 do
      if i == 0 or lengths[i] > 0 then waiting = waiting + 1 end
    end
    local most_due, most_due_bytes = most, most_bytes
    if waiting > 1 or lengths[0] > 0 then
      most_due, most_due_bytes = math.max(math.floor(most / (2 * waiting)), batch % 2), most_bytes / (2 * waiting)
    end
    local returned, bytes = 0, 0
    -- By the lists' numbers: the bytes that are counted, how many more there are than at the beginning, and the next
    -- envelope's size where it is known.
    local counts, added, next_sizes = read_bytes(bytes_key), {}, {}
    for i = 0, lists - 1 do next_sizes[i] = counts['next:' .. i] or nil end
    while returned < most_due and bytes < most_due_bytes do
      local due = redis.call('ZRANGE', later, '-inf', string.format('%.0f', later_at), 'BYSCORE', 'LIMIT', 0, 1)[1]
      if not due then break end
      -- By its place, since the append-only file would get all of it once more with ZREM.
      redis.call('ZPOPMIN', later)
      local f = failing(due)
      local list = f and f.deaths > 0 and lists - 1 or 0
      redis.call('RPUSH', KEYS[8 + list], due)
      returned, bytes = returned + 1, bytes + #due
      lengths[list], added[list] = lengths[list] + 1, (added[list] or 0) + #due
      next_sizes[list] = nil
    end

    -- Lists that have something, in the order of their turns. Where suspects may be taken and there are any, theirs
    -- alone.
    local open, suspicious = {}, suspects > 0 and lengths[lists - 1] > 0
    for i = 0, lists - 2 do
      local list = (batch + i) % (lists - 1)
      if lengths[list] > 0 and not suspicious then open[#open + 1] = KEYS[8 + list] end
    end

    local envelopes, known = {}, {}
    -- So many were taken, those included that went elsewhere on the way, so that this ends.
    local moved, full = 0, false
    -- By the lists' keys: their numbers, and how many more may be taken; of each envelope, the number.
    local numbers, left, from = { [first_list] = 0 }, { [first_list] = most }, {}
    for i = 1, lists - 1 do numbers[KEYS[8 + i]], left[KEYS[8 + i]] = i, tonumber(ARGV[11 + i]) or most end

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
      if later_length > 0 then filled.later = { key = later, length = later_length, added = -returned_bytes } end
      keep_bytes(bytes_key, filled)
    end

    -- Of large ones that were taken.
    local large_bytes = 0
    local function fits(size)
      return #envelopes == 0 or bytes + size <= most_bytes
        and (size <= \#(largeBytes) or large_bytes == 0 or large_bytes + size <= \#(mostLargeBytes))
    end

    -- The size of a list's next envelope, as far as it is known or can be guessed; 0 where it may be small.
    local function next_size(number)
      if next_sizes[number] then return next_sizes[number] end
      local average = ((counts[tostring(number)] or 0) + (added[number] or 0)) / lengths[number]
      return average > \#(AccountShuffleShard.largePayload) and average or 0
    end

    local function was_put_back(number, size)
      if size > \#(AccountShuffleShard.largePayload) then next_sizes[number] = size end
      -- One in vain is enough: Redis answers nobody meanwhile.
      if size > \#(largeBytes) then full = true end
    end

    -- Takes a list's share. Says whether the list may have more for this claim.
    local function turn(list, share, byte_share)
      local taken, taken_bytes, number, was_small = 0, 0, numbers[list], false
      while taken < share and taken_bytes < byte_share and lengths[number] > 0 do
        local size = was_small and next_sizes[number] == nil and 0 or next_size(number)
        if not fits(size) then return false end
        if taken > 0 and taken_bytes + size > byte_share then return true end
        local envelope = redis.call('LMOVE', list, claim, 'RIGHT', 'RIGHT')
        if not envelope then return false end
        local f = failing(envelope)
        local deaths = f and f.deaths or 0
        -- Alone where the next death would be the last.
        local alone = deaths > 0 and deaths + 1 >= most_deaths
        if #envelope > largest then
          redis.call('RPOP', claim)
          local reason = string.format('%d bytes, more than a worker takes (%.0f)', #envelope, largest)
          bury(dead, dead_bytes, failures, envelope, reason, worker, { attempts = 0, deaths = 0, first_at = at }, at)
          has_left(list, envelope)
          taken, moved = taken + 1, moved + 1
        elseif deaths > 0 and not suspicious then
          -- A suspect. Behind those that were met before.
          redis.call('LMOVE', claim, suspects_list, 'RIGHT', 'LEFT')
          has_left(list, envelope)
          lengths[lists - 1], added[lists - 1] = lengths[lists - 1] + 1, (added[lists - 1] or 0) + #envelope
          taken, moved = taken + 1, moved + 1
          if #envelope > \#(largeBytes) then
            -- Redis has answered nobody for long enough.
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
          was_small = #envelope <= \#(AccountShuffleShard.largePayload)
          if #envelope > \#(largeBytes) then large_bytes = large_bytes + #envelope end
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
      if not begins and (not age or age > \#(registrationAge)) then register() end
      return { 'empty' }
    end
    redis.call('LPUSH', claim, header_line(worker, instance, batch, at + lease, at, #envelopes, lease))
    register()
    return { 'claimed', batch, at + lease, envelopes, known, from }
    """#)

  /// Ends a claim: what isn't named is acknowledged and gone.
  ///
  /// KEYS claim, later, dead, failures, stats, bytes of dead letters, bytes, then the pending lists with list 0 first.
  /// ARGV instance, batch, worker, attempts after which an envelope is dead; then for each that is named, the last one
  /// first: its place in the batch from 0, its fate, a reason, a delay in ms (where it goes back, the number of the list instead).
  static let settle = script(
    "settle",
    #"""
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
      -- Each retry of a large one is written to the append-only file twice, here and when it is due. All of them
      -- together come back at a rate that leaves Redis time for others.
      if #envelope > \#(largeBytes) then
        local waiting = (tonumber(redis.pcall('HGET', bytes_key, 'later')) or 0) + (added.later or 0)
        delay = math.max(delay, (waiting + #envelope) / \#(retriedBytesPerMillisecond))
      end
      -- One that is there already stays one.
      if redis.call('ZADD', later, string.format('%.0f', later_at + delay), envelope) == 1 then
        added.later = (added.later or 0) + #envelope
      end
    end
    for i = 5, #ARGV, 4 do
      local place, fate, reason, delay = tonumber(ARGV[i]) + 1, ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3])
      if fate == 'back' then
        if redis.call('LLEN', claim) > place then
          -- Moved, so that the append-only file doesn't get the payload once more. What came after it is dealt with.
          redis.call('LTRIM', claim, 0, place)
          local envelope = redis.call('LMOVE', claim, KEYS[8 + delay], 'RIGHT', 'RIGHT')
          added[delay] = (added[delay] or 0) + #envelope
          done = done - 1
        end
      else
        local envelope = redis.call('LINDEX', claim, place)
        local id = envelope and id_of(envelope)
        if not envelope then
          -- Somebody has deleted it by hand.
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
    -- Last, and whatever comes of it: counting must not be in the way of what is counted.
    if done > 0 then redis.pcall('HINCRBY', stats, 'done', done) end
    for field, bytes in pairs(added) do
      add_bytes(bytes_key, field, bytes)
      -- Another envelope is the next one now.
      if field ~= 'later' then redis.pcall('HDEL', bytes_key, 'next:' .. field) end
    end
    return { 'settled', buried }
    """#)

  /// Gives a claim another lease, counted from now, also where the old one has ended but nobody has taken it.
  ///
  /// KEYS claim. ARGV instance, batch, lease in ms.
  static let extend = script(
    "extend",
    #"""
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
    """#)

  /// Puts back what is in claims whose lease has ended.
  ///
  /// KEYS workers, pending, dead, failures, bytes of dead letters, bytes, later, stats, the list of suspects.
  /// ARGV beginning of a claim's key, most envelopes, deaths after which an envelope is dead, slots of a worker, age in ms at which a
  /// worker without claims is forgotten, this worker's lease in ms, the number of the list of suspects.
  static let reap = script(
    "reap",
    #"""
    local suspects_list = table.remove(KEYS)
    local stats = table.remove(KEYS)
    local later = table.remove(KEYS)
    local workers, pending, dead, failures, dead_bytes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
    -- To list 0, and to the suspects; and of all that was moved.
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
              -- From here on it is nobody's.
              redis.call('LSET', claim, 0, header_line(h.worker, '', h.batch, 0, h.claimed_at, h.count, h.lease))
            else
              strange[#strange + 1] = claim .. ': no header'
            end
            local left = redis.call('LLEN', claim) - (h and 1 or 0)
            while left > 0 and back + buried < most and moved_bytes < \#(mostLargeBytes) do
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
        -- Seen before TIME went back: counted from now.
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
    """#)

  /// Takes a worker off the list of workers, unless it has claims or its name belongs to another by now.
  ///
  /// KEYS workers. ARGV beginning of a claim's key, worker, instance, slots of a worker.
  static let leave = script(
    "leave",
    #"""
    local seen = redis.call('HGET', KEYS[1], ARGV[2])
    local owner = seen and object(seen)
    if not owner or owner.instance ~= ARGV[3] then return 0 end
    for slot = 0, tonumber(ARGV[4]) - 1 do
      if redis.call('EXISTS', ARGV[1] .. ARGV[2] .. ':' .. slot) == 1 then return 0 end
    end
    return redis.call('HDEL', KEYS[1], ARGV[2])
    """#)

  /// Reads how much is where.
  ///
  /// KEYS later, dead, failures, workers, stats, then the pending lists with list 0 first.
  /// ARGV beginning of a claim's key, slots of a worker.
  static let state = script(
    "state", flags: "no-writes",
    #"""
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
            -- As the reaper will see it.
            h and math.min(h.lease_until, at + h.lease) or 0, h and math.min(h.claimed_at, at) or 0 }
        end
      end
    end
    return {
      at, lengths, redis.call('ZCARD', later), redis.call('XLEN', dead), redis.call('HLEN', failures), received_at,
      names, claims, tonumber(redis.call('HGET', stats, 'done')) or 0 }
    """#)
}
