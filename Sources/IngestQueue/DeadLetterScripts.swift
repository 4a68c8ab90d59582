// What people do with dead letters, as scripts that Redis runs: each is one atomic step over a few letters, since Redis
// does nothing else meanwhile. Where to go on and what to take is decided outside, from the small fields; the envelopes, which may
// be large, stay in Redis.
//
// A letter is named by its entry in the stream, which no other ever gets: between looking and acting somebody else may have taken it,
// and then it is gone, never another one in its place. Requeuing puts it into a list and takes it out of the stream in one
// run. `allow-oom`, because what could not be stored must be dealt with when Redis is full.

internal import RedisClient

enum DeadLetterScripts {
  private static let prelude = #"""
    local function fields_of(entry)
      local fields, bytes = {}, 0
      for i = 1, #entry[2], 2 do
        fields[entry[2][i]] = entry[2][i + 1]
        bytes = bytes + #entry[2][i] + #entry[2][i + 1]
      end
      return fields, bytes
    end

    -- What was in the queue; of an entry by another hand, all that it has.
    local function element_of(entry, fields)
      return fields.envelope or table.concat(entry[2], '\n')
    end

    local function flaw_in(fields)
      for _, name in ipairs({ 'id', 'reason', 'attempts', 'deaths', 'first_at', 'died_at', 'worker', 'envelope' }) do
        if not fields[name] then return 'the field ' .. name .. " isn't there" end
      end
      for _, name in ipairs({ 'attempts', 'deaths', 'first_at', 'died_at' }) do
        if #fields[name] > 18 or not string.match(fields[name], '^%d+$') then
          return 'the field ' .. name .. " isn't a number"
        end
      end
      if #fields.id > 64 or not string.match(fields.id, '^[%w-]+$') then return "the field id isn't an id" end
    end

    """#

  private static func script(_ name: String, flags: String, _ body: String) -> RedisScript {
    RedisScript(
      name: name, source: "#!lua flags=\(flags)\n" + DeadLetterBytes.function + QueueBytes.functions + prelude + body)
  }

  /// Reads the next letters without their envelopes.
  ///
  /// KEYS dead. ARGV newest or oldest (which come first), where to begin and where to end (entries, or what XRANGE takes for
  /// them), most letters, bytes after which no further one is looked at.
  static let page = script(
    "dead letters' page", flags: "no-writes",
    #"""
    local range = ARGV[1] == 'newest' and 'XREVRANGE' or 'XRANGE'
    local from, to, most, budget = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
    local letters, bytes = {}, 0
    while #letters < most and bytes < budget do
      -- One at a time: only so is known how large the next one is.
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
    """#)

  /// Reads a part of a letter's element.
  ///
  /// KEYS dead. ARGV entry, offset, most bytes.
  static let part = script(
    "dead letter's part", flags: "no-writes",
    #"""
    local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
    if not entry then return false end
    local element = element_of(entry, fields_of(entry))
    return string.sub(element, tonumber(ARGV[2]) + 1, tonumber(ARGV[2]) + tonumber(ARGV[3]))
    """#)

  /// Puts letters back into the queue as if they had never failed.
  ///
  /// KEYS dead, failures, stats, bytes of dead letters, bytes, then all lists of envelopes that nobody works on, list 0
  /// first.
  /// ARGV bytes after which no further one is moved, how long list 0 may be to be given one; then for each letter its
  /// entry and the two lists of its account.
  /// Answers for each that was looked at: 1 moved, 0 gone, -1 it isn't readable and stays.
  static let requeue = script(
    "requeue dead letters", flags: "allow-oom",
    #"""
    local dead, failures, stats, dead_bytes, bytes_key = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
    -- A key of a wrong type ends the script here, before anything is written.
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
    if moved > 0 then
      redis.call('HINCRBY', stats, 'requeued', moved)
      if redis.call('XLEN', dead) == 0 then redis.call('UNLINK', dead, dead_bytes) end
    end
    return outcomes
    """#)

  /// Removes letters, readable or not.
  ///
  /// KEYS dead, stats, bytes of dead letters. ARGV bytes after which no further one is removed, then entries. Answers for
  /// each that was looked at: 1 removed, 0 gone.
  static let discard = script(
    "discard dead letters", flags: "allow-oom",
    #"""
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
        -- What was put there by hand was never counted.
        if not flaw_in(f) then add_dead_bytes(dead_bytes, f.account, -size) end
        outcome, removed, bytes = 1, removed + 1, bytes + size
      end
      outcomes[#outcomes + 1] = outcome
    end
    if removed > 0 then
      redis.call('HINCRBY', stats, 'discarded', removed)
      if redis.call('XLEN', dead) == 0 then redis.call('UNLINK', dead, dead_bytes) end
    end
    return outcomes
    """#)
}
