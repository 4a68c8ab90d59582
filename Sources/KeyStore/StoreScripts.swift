// The scripts: each is one atomic step in Redis, and no other code writes to the key store.
//
// They check everything they rely on before the first write, because a script that fails half-way leaves its first half behind.
// The `#!lua` line makes Redis refuse them as a whole when it is full, not at some write in the middle; `allow-oom` lifts that
// for what must work on a full Redis: ending a key's life.
//
// A store begins whole, with the summary of every bucket (`create`). So what is missing was lost: the others refuse a bucket
// without a summary, which they would otherwise have to take for one that was never written to, and its keys for never put.

import RedisClient

enum StoreScripts {
  /// Digests are kept as four numbers, since Lua's bit operations have 32 bits.
  private static let digests = """
    local function parse(hex)
      return {tonumber(string.sub(hex, 1, 8), 16), tonumber(string.sub(hex, 9, 16), 16),
              tonumber(string.sub(hex, 17, 24), 16), tonumber(string.sub(hex, 25, 32), 16)}
    end
    local function hex(d)
      return bit.tohex(d[1]) .. bit.tohex(d[2]) .. bit.tohex(d[3]) .. bit.tohex(d[4])
    end
    local function number(n) return string.format('%.0f', n) end

    """

  /// Reads and checks meta.
  private static let reading =
    digests + """
      local function fold(id, record, bucket, total)
        local h = parse(redis.sha1hex(id .. record))
        for i = 1, 4 do bucket[i], total[i] = bit.bxor(bucket[i], h[i]), bit.bxor(total[i], h[i]) end
      end

      local schema, buckets = ARGV[1], ARGV[2]
      local meta = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'epoch', 'version', 'count', 'digest', 'sealed')
      if redis.call('EXISTS', KEYS[1]) == 0 then
        if redis.call('EXISTS', unpack(KEYS)) > 0 then
          return redis.error_reply('STOREBROKEN meta is gone, other parts of the store are there')
        end
        return redis.error_reply('STORENONE there is no key store')
      end
      if meta[1] == 'rebuilding' then
        return redis.error_reply('STOREREBUILD the store is being rebuilt by key-publisher reseal; if that was interrupted, run it again')
      end
      if not meta[3] then return redis.error_reply('STOREBROKEN meta lacks its epoch') end
      if meta[1] ~= schema or meta[2] ~= buckets then
        return redis.error_reply('STOREKIND the store has schema ' .. tostring(meta[1]) .. ' and ' .. tostring(meta[2])
          .. ' buckets, this publisher writes schema ' .. schema .. ' and ' .. buckets)
      end
      if not (string.match(meta[4] or '', '^%d+$') and string.match(meta[5] or '', '^%d+$')
          and #(meta[6] or '') == 32 and string.match(meta[6], '^%x+$')) then
        return redis.error_reply('STOREBROKEN meta lacks its version, count or digest')
      end
      local epoch, version, count, total = meta[3], tonumber(meta[4]), tonumber(meta[5]), parse(meta[6])
      -- Of a bucket: what it says of itself, or nil and what is wrong with it.
      local function describe(key)
        local summary = redis.call('HGET', key, 'summary')
        if not summary then return nil, 'no summary in ' .. key end
        local c, d, v = string.match(summary, '^(%d+) (%x+) (%d+)$')
        if not c or #d ~= 32 then return nil, 'unreadable summary in ' .. key end
        if tonumber(v) > version then
          return nil, key .. ' was changed at version ' .. v .. ', but meta is at version ' .. number(version)
        end
        return {count = tonumber(c), digest = parse(d), changedAt = tonumber(v)}
      end
      local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
      if #last > 0 and tonumber(string.match(last[1][1], '^%d+')) > version then
        return redis.error_reply('STOREBROKEN the change stream goes to ' .. last[1][1] .. ', but meta is at version '
          .. number(version))
      end
      local function writeMeta()
        redis.call('HSET', KEYS[1], 'version', number(version), 'count', number(count), 'digest', hex(total))
      end

      """

  /// Begins a store: nothing is in it, and it says so of each bucket. Does nothing where there is one.
  ///
  /// Parts of a store without its meta are what a hand or half a deletion left. What they were part of isn't known, and to
  /// write over them would make keys that are still there unknown, so that is refused.
  ///
  /// KEYS: meta, changes, all buckets. ARGV: schema, number of buckets, the epoch, `1` to begin it or `0` to see only whether
  /// it could. Answers 1 if there is a store now, 0 if there is none.
  static let create = RedisScript(
    name: "create",
    source: """
      #!lua
      if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
      if redis.call('EXISTS', KEYS[2]) == 1 then
        return redis.error_reply('STOREBROKEN meta is gone, the change stream is there')
      end
      local zeros = string.rep('0', 32)
      for i = 3, #KEYS do
        local length = redis.call('HLEN', KEYS[i])
        local summary = length == 1 and redis.call('HGET', KEYS[i], 'summary')
        if length > 0 and not (summary and string.match(summary, '^0 ' .. zeros .. ' %d+$')) then
          return redis.error_reply('STOREBROKEN meta is gone, ' .. KEYS[i] .. ' is there')
        end
      end
      if ARGV[4] ~= '1' then return 0 end
      for i = 3, #KEYS do redis.call('HSET', KEYS[i], 'summary', '0 ' .. zeros .. ' 0') end
      redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'buckets', ARGV[2], 'epoch', ARGV[3], 'version', '0', 'count', '0',
        'digest', zeros)
      return 1
      """)

  /// Reads and checks the summaries of the buckets that are touched, and writes them at the end.
  private static let touching = """
    local summaries = {}
    for i = 3, #KEYS do
      local summary, problem = describe(KEYS[i])
      if not summary then return redis.error_reply('STOREBROKEN ' .. problem) end
      summaries[i] = summary
    end
    local outcomes, agreed = {}, 0
    local function finish()
      for i = 3, #KEYS do
        local summary = summaries[i]
        if summary.version then
          redis.call('HSET', KEYS[i], 'summary',
            number(summary.count) .. ' ' .. hex(summary.digest) .. ' ' .. number(summary.version))
        end
      end
      writeMeta()
      if agreed > 0 then redis.call('HINCRBY', KEYS[1], 'announced', agreed) end
      return {epoch, number(version), table.concat(outcomes)}
    end

    """

  /// Writes many changes, as far as each of them may be made.
  ///
  /// Whether a change may be made is decided here and nowhere else, in the step that makes it: a change that is sent
  /// twice, or late, or by two publishers at once meets the record as it is then.
  ///
  /// KEYS: meta, changes, and the buckets that are touched. ARGV: schema, number of buckets, now in seconds, changes to
  /// keep, the version that the changes rest on (empty: none), then seven for each change: the operation, the position
  /// of its bucket among KEYS, the bucket's number, the id, the state's letter (empty: as it is, and active for a new
  /// key), the account (empty for `s`), the source's revision (empty: none). An operation is `p` (put) or `s` (change
  /// only the state), and then what it may do: `e` (this removal is agreed to), `m` (move the key to another account),
  /// `r` (change a revoked key).
  ///
  /// Answers epoch, version, and two letters per change: what became of it (see ``EditResult/Kind``), and the key's
  /// state now, `-` if it has none.
  private static let changing =
    reading + touching + """
      local now, keep, basis = ARGV[3], ARGV[4], tonumber(ARGV[5])
      local find, match, byte = string.find, string.match, string.byte
      local readable = '^' .. schema .. ' ([asr]) (%d+)/?(%d*)/?(%d*) (.+)$'
      for a = 6, #ARGV, 7 do
        local op, at, id, state, account, revision =
          ARGV[a], tonumber(ARGV[a + 1]), ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6]
        local isPut, key, summary = byte(op) == 112, KEYS[at], summaries[at]
        local old = redis.call('HGET', key, id)
        -- Of a record that can't be read nothing is known: it is written over, as if there were none.
        local oldState, since, changedAt, oldRevision, oldAccount
        if old then oldState, since, changedAt, oldRevision, oldAccount = match(old, readable) end
        if state == '' then state = oldState or 'a' end
        if not isPut then account = oldAccount end
        local same = oldState == state and oldAccount == account
        local isNewer = revision ~= '' and (not oldState or oldRevision == '' or tonumber(revision) > tonumber(oldRevision))
        local outcome
        if not account then
          outcome = 'm'
        elseif same and not isNewer then
          outcome = 'u'
        elseif oldState then
          if revision ~= '' and not isNewer and tonumber(revision) < tonumber(oldRevision) then
            outcome = 'o'
          elseif basis and (tonumber(changedAt) or summary.changedAt) > basis then
            outcome = 'v'
          elseif oldState == 'r' and not same and not find(op, 'r', 2, true) then
            outcome = 'r'
          elseif oldAccount ~= account and not find(op, 'm', 2, true) then
            outcome = 'a'
          elseif isPut and oldState == 'a' and state ~= 'a' and not find(op, 'e', 2, true) then
            outcome = 'e'
          end
        end
        if not outcome then
          outcome = 'c'
          version = version + 1
          local numbers = number(version)
          local entry = numbers .. '-0'
          if isNewer then
            numbers = numbers .. '/' .. revision
          elseif oldState and oldRevision ~= '' then
            numbers = numbers .. '/' .. oldRevision
          end
          local record = schema .. ' ' .. state .. ' ' .. (same and since or now) .. '/' .. numbers .. ' ' .. account
          if old then
            fold(id, old, summary.digest, total)
          else
            summary.count = summary.count + 1
            count = count + 1
          end
          fold(id, record, summary.digest, total)
          summary.version = version
          local effect = 'put'
          if oldState == 'a' and state ~= 'a' and find(op, 'e', 2, true) then
            effect = 'end'
            agreed = agreed + 1
          end
          -- First, because it alone can be refused: where somebody gave the stream a later id by hand.
          redis.call('XADD', KEYS[2], 'MAXLEN', '~', keep, entry, 'epoch', epoch, 'op', effect, 'id', id, 'record', record,
            'bucket', ARGV[a + 2], 'count', number(summary.count), 'digest', hex(summary.digest), 'total', hex(total))
          redis.call('HSET', key, id, record)
          oldState = state
        end
        outcomes[#outcomes + 1] = outcome .. (oldState or '-')
      end
      return finish()
      """

  /// Adds and changes keys; refused by a full Redis.
  static let change = RedisScript(name: "change", source: "#!lua\n" + changing)

  /// The same, for suspending and revoking, which must work on a full Redis.
  static let end = RedisScript(name: "end", source: "#!lua flags=allow-oom\n" + changing)

  /// Removes the records of keys that have been revoked since before a moment.
  ///
  /// KEYS: meta, changes, and the buckets that are touched. ARGV: schema, number of buckets, the moment in seconds,
  /// changes to keep, then three for each key: the position of its bucket among KEYS, the bucket's number, the id.
  /// Answers as the changes do: `c` for one that was removed, `u` for one that isn't revoked or wasn't before then, `m`
  /// for one without a record. Works on a full Redis.
  static let purge = RedisScript(
    name: "purge",
    source: "#!lua flags=allow-oom\n" + reading + touching + """
      local before, keep = tonumber(ARGV[3]), ARGV[4]
      for a = 5, #ARGV, 3 do
        local key, summary, id = KEYS[tonumber(ARGV[a])], summaries[tonumber(ARGV[a])], ARGV[a + 2]
        local old = redis.call('HGET', key, id)
        local state, since = string.match(old or '', '^' .. schema .. ' ([asr]) (%d+)/?%d*/?%d* .+$')
        if not old then
          outcomes[#outcomes + 1] = 'm-'
        elseif state ~= 'r' or tonumber(since) >= before then
          outcomes[#outcomes + 1] = 'u' .. (state or '-')
        else
          summary.count = summary.count - 1
          count = count - 1
          fold(id, old, summary.digest, total)
          version = version + 1
          summary.version = version
          redis.call('XADD', KEYS[2], 'MAXLEN', '~', keep, number(version) .. '-0', 'epoch', epoch, 'op', 'purge', 'id', id,
            'bucket', ARGV[a + 1], 'count', number(summary.count), 'digest', hex(summary.digest), 'total', hex(total))
          redis.call('HDEL', key, id)
          outcomes[#outcomes + 1] = 'c-'
        end
      end
      return finish()
      """)

  /// Marks the store as populated, if all that it says of itself fits together.
  ///
  /// KEYS: meta, changes, all buckets. ARGV: schema, number of buckets, `1` if it may be empty, changes to keep. Answers epoch, version, count, and `1` if it was sealed already.
  static let seal = RedisScript(
    name: "seal",
    source: "#!lua\n" + reading + """
      local records, sum = 0, parse(string.rep('0', 32))
      for i = 3, #KEYS do
        local summary, problem = describe(KEYS[i])
        if not summary then return redis.error_reply('STOREBROKEN ' .. problem) end
        local length = math.max(redis.call('HLEN', KEYS[i]) - 1, 0)
        if length ~= summary.count then
          return redis.error_reply('STOREBROKEN ' .. KEYS[i] .. ' says it has ' .. number(summary.count)
            .. ' records, it has ' .. number(length))
        end
        for j = 1, 4 do sum[j] = bit.bxor(sum[j], summary.digest[j]) end
        records = records + summary.count
      end
      if records ~= count or hex(sum) ~= hex(total) then
        return redis.error_reply('STOREBROKEN the buckets have ' .. number(records) .. ' records with digest ' .. hex(sum)
          .. ', meta says ' .. number(count) .. ' with ' .. hex(total))
      end
      if records == 0 and ARGV[3] ~= '1' then
        return redis.error_reply('STOREEMPTY there are no keys in the store')
      end
      if meta[7] == '1' then return {epoch, number(version), number(count), 1} end
      version = version + 1
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], number(version) .. '-0', 'epoch', epoch, 'op', 'seal', 'total', hex(total))
      writeMeta()
      redis.call('HSET', KEYS[1], 'sealed', '1')
      return {epoch, number(version), number(count), 0}
      """)

  /// Says to all replicas that all removals up to here are meant.
  ///
  /// KEYS: meta, changes. ARGV: schema, number of buckets, changes to keep. Answers the version. Works on a full Redis,
  /// as removing does.
  static let confirm = RedisScript(
    name: "confirm",
    source: "#!lua flags=allow-oom\n" + reading + """
      version = version + 1
      redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], number(version) .. '-0', 'epoch', epoch, 'op', 'confirm', 'total', hex(total))
      writeMeta()
      redis.call('HSET', KEYS[1], 'confirmed', number(version))
      return number(version)
      """)

  /// Closes the store to nodes and publishers, so that it can be rebuilt; does so, too, where another rebuilding was begun, which
  /// can't go on then.
  ///
  /// KEYS: meta, changes, rebuild. ARGV: schema, number of buckets, the coming epoch, the latest version seen in a bucket. Answers the
  /// version that the store is going to have: later than anything in it. Works on a full Redis, as does all of the rebuilding.
  static let beginRebuild = RedisScript(
    name: "beginRebuild",
    source: """
      #!lua flags=allow-oom
      local meta = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'version')
      if meta[1] and meta[1] ~= ARGV[1] and meta[1] ~= 'rebuilding' or meta[2] and meta[2] ~= ARGV[2] then
        return redis.error_reply('STOREKIND the store has schema ' .. tostring(meta[1]) .. ' and ' .. tostring(meta[2])
          .. ' buckets')
      end
      local version = tonumber(ARGV[4])
      local function consider(text)
        local number = tonumber(string.match(text or '', '^%d+') or '0')
        if number < 9007199254740992 then version = math.max(version, number) end
      end
      consider(meta[3])
      if redis.call('TYPE', KEYS[2]).ok == 'stream' then
        local info = redis.call('XINFO', 'STREAM', KEYS[2])
        for i = 1, #info - 1, 2 do
          if info[i] == 'last-generated-id' then consider(info[i + 1]) end
        end
      end
      local coming = string.format('%.0f', version + 1)
      redis.call('HSET', KEYS[1], 'schema', 'rebuilding', 'buckets', ARGV[2], 'rebuild', ARGV[3] .. ' ' .. coming)
      redis.call('HDEL', KEYS[1], 'sealed')
      redis.call('DEL', KEYS[3])
      return coming
      """)

  /// The version that a rebuilding leads to, if it is the one whose epoch is named.
  private static let rebuilding = """
    local function coming(epoch)
      local meta = redis.call('HMGET', KEYS[1], 'schema', 'rebuild')
      return meta[1] == 'rebuilding' and string.match(meta[2] or '', '^' .. epoch .. ' (%d+)$')
    end
    local refusal = redis.error_reply('STOREREBUILD somebody else has rebuilt the store meanwhile, or is at it')

    """

  /// Takes down what a bucket's summary is going to be.
  ///
  /// KEYS: meta, rebuild, the bucket. ARGV: the coming epoch, the bucket's number, count and digest of its records, and the names of
  /// fields that are to go.
  static let rebuildBucket = RedisScript(
    name: "rebuildBucket",
    source: "#!lua flags=allow-oom\n" + rebuilding + """
      local version = coming(ARGV[1])
      if not version then return refusal end
      local kind = redis.call('TYPE', KEYS[3]).ok
      if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[3]) end
      local length = redis.call('HLEN', KEYS[3]) - redis.call('HEXISTS', KEYS[3], 'summary')
      for i = 5, #ARGV do length = length - redis.call('HEXISTS', KEYS[3], ARGV[i]) end
      if length ~= tonumber(ARGV[3]) then
        return redis.error_reply('STOREBROKEN ' .. KEYS[3] .. ' was changed while it was rebuilt')
      end
      for i = 5, #ARGV do redis.call('HDEL', KEYS[3], ARGV[i]) end
      redis.call('HSET', KEYS[2], ARGV[2], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. version)
      return 1
      """)

  /// Writes the summaries of all buckets and opens the store again, as a new history that is sealed. Announcements and confirmations
  /// of removals were the former one's. Its stream begins with this step.
  ///
  /// KEYS: meta, changes, rebuild, all buckets. ARGV: schema, number of buckets, the coming epoch. Answers version and count.
  static let finishRebuild = RedisScript(
    name: "finishRebuild",
    source: "#!lua flags=allow-oom\n" + rebuilding + digests + """
      local version = coming(ARGV[3])
      if not version then return refusal end
      local count, total = 0, parse(string.rep('0', 32))
      local summaries = {}
      for i = 4, #KEYS do
        local summary = redis.call('HGET', KEYS[3], i - 4)
        local c, d, v = string.match(summary or '', '^(%d+) (%x+) (%d+)$')
        local length = redis.call('HLEN', KEYS[i]) - redis.call('HEXISTS', KEYS[i], 'summary')
        if v ~= version or #d ~= 32 or length ~= tonumber(c) then
          return redis.error_reply('STOREBROKEN ' .. KEYS[i] .. ' was changed after it was rebuilt')
        end
        summaries[i] = summary
        count = count + tonumber(c)
        local digest = parse(d)
        for j = 1, 4 do total[j] = bit.bxor(total[j], digest[j]) end
      end
      for i = 4, #KEYS do redis.call('HSET', KEYS[i], 'summary', summaries[i]) end
      redis.call('DEL', KEYS[2], KEYS[3])
      redis.call('XADD', KEYS[2], version .. '-0', 'epoch', ARGV[3], 'op', 'seal', 'total', hex(total))
      local replicas = redis.call('HGET', KEYS[1], 'replicas')
      if replicas and not (string.match(replicas, '^%d%d?$') and tonumber(replicas) <= 32) then redis.call('HDEL', KEYS[1], 'replicas') end
      redis.call('HDEL', KEYS[1], 'rebuild', 'announced', 'confirmed')
      redis.call('HSET', KEYS[1], 'schema', ARGV[1], 'buckets', ARGV[2], 'epoch', ARGV[3], 'version', version, 'count',
        number(count), 'digest', hex(total), 'sealed', '1')
      return {version, number(count)}
      """)

  /// Says how many replicas could take this Redis's place. That is no change of what the store holds, so its version stays.
  ///
  /// KEYS: meta, changes. ARGV: schema, number of buckets, how many. Works on a full Redis.
  static let replicas = RedisScript(
    name: "replicas",
    source: "#!lua flags=allow-oom\n" + reading + """
      redis.call('HSET', KEYS[1], 'replicas', ARGV[3])
      return 1
      """)

  /// A write that says nothing, for replicas to acknowledge. KEYS: fence. ARGV: a value. Works on a full Redis.
  static let fence = RedisScript(
    name: "fence", source: "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], ARGV[1])")

  /// Writes something for another connection to find.
  ///
  /// KEYS: a meeting. ARGV: for how many milliseconds. Works on a full Redis.
  static let meeting = RedisScript(
    name: "meeting", source: "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])")

  /// Writes down that so many replicas were seen to follow, unless it were more before. KEYS: followers. ARGV: how many. Works on a full Redis.
  static let recordFollowers = RedisScript(
    name: "recordFollowers",
    source: """
      #!lua flags=allow-oom
      local before = redis.call('GET', KEYS[1])
      if not before or (tonumber(before) or 0) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
      return 1
      """)

  /// Reads all that the store says of itself in one step.
  ///
  /// KEYS: meta, all buckets. Answers the fields of meta, then for each bucket its summary and its length.
  static let manifest = RedisScript(
    name: "manifest",
    source: """
      #!lua flags=no-writes
      local answer = redis.call('HMGET', KEYS[1], 'schema', 'buckets', 'epoch', 'version', 'count', 'digest', 'sealed',
        'announced', 'confirmed', 'replicas')
      for i = 2, #KEYS do
        answer[#answer + 1] = redis.call('HGET', KEYS[i], 'summary')
        answer[#answer + 1] = redis.call('HLEN', KEYS[i])
      end
      return answer
      """)
}
