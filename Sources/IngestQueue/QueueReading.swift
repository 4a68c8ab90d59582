// How full a shard and its Redis are, as the gate needs it: one read-only script and an INFO, a few dozen microseconds of Redis's time.

internal import Hiredis
internal import RedisClient

/// What was read of a shard at one moment.
public struct QueueReading: Sendable, Equatable {
  /// Of the pending lists, in their order.
  public var lengths: [Int64]
  /// Envelopes that are tried again later.
  public var later: Int64
  /// Bytes of both: of the envelopes as they were pushed, and 16 for each.
  public var bytes: Int64
  /// Of these, the bytes in each pending list, in their order.
  public var listBytes: [Int64]
  /// Of all that counts against the limit, in Redis as a whole; nil where INFO can't be used, so that only what Redis
  /// refuses shows that it is full.
  public var memory: Int64?
  /// `maxmemory`; 0 where there is none or it can't be told.
  public var memoryLimit: Int64
  /// Envelopes that were stored and have left the queue, ever since there is this queue.
  public var done: Int64
  public var deadBytes: DeadLetterBytes

  public init(
    lengths: [Int64], later: Int64 = 0, bytes: Int64 = 0, listBytes: [Int64]? = nil, memory: Int64? = 0,
    memoryLimit: Int64 = 0, done: Int64 = 0,
    deadBytes: DeadLetterBytes = DeadLetterBytes()
  ) {
    self.lengths = lengths
    self.later = later
    self.bytes = bytes
    self.listBytes = listBytes ?? lengths.map { _ in 0 }
    self.memory = memory
    self.memoryLimit = memoryLimit
    self.done = done
    self.deadBytes = deadBytes
  }

  /// Envelopes that wait for a worker, now or later. Not those in the hands of workers, whose number has a bound of its own, and not dead
  /// letters, which no worker takes away: a gate that counted them would never open again by itself.
  public var entries: Int64 { lengths.reduce(later, +) }

  var entriesByList: ListAmounts { ListAmounts(lists: lengths, later: later) }

  var bytesByList: ListAmounts {
    ListAmounts(lists: listBytes, later: max(0, bytes - listBytes.reduce(0, +)))
  }
}

extension QueueReading {
  static func keys(_ layout: QueueLayout) -> [String] {
    layout.pending + [layout.later, layout.stats, layout.dead, layout.deadBytes, layout.bytes]
  }

  /// KEYS the pending lists, later, stats, dead, bytes of dead letters, bytes.
  /// ARGV 1 where bytes that were pushed may be missing from the counts; then Redis's estimate counts where it is
  /// larger.
  static let script = RedisScript(
    name: "level",
    source: "#!lua flags=no-writes\n" + DeadLetterBytes.reading + QueueBytes.reading
      + #"""
      local later_key, stats, dead, dead_bytes = KEYS[#KEYS - 4], KEYS[#KEYS - 3], KEYS[#KEYS - 2], KEYS[#KEYS - 1]
      local counts = read_bytes(KEYS[#KEYS])
      local estimates = not counts.kept or ARGV[1] == '1'
      local lengths, bytes, list_bytes = {}, 0, {}
      local function add(key, field, length)
        if length == 0 then return 0 end
        local count = math.max(counts[field] or 0, 0)
        if estimates then count = math.max(count, redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 20)) end
        count = count + length * \#(QueueBytes.perEntry)
        bytes = bytes + count
        return math.min(count, \#(Int64.mostCounted))
      end
      for i = 1, #KEYS - 5 do
        lengths[i] = redis.call('LLEN', KEYS[i])
        list_bytes[i] = add(KEYS[i], tostring(i - 1), lengths[i])
      end
      local later = redis.call('ZCARD', later_key)
      add(later_key, 'later', later)
      bytes = math.min(bytes, \#(Int64.mostCounted))
      local accounts = read_dead_bytes(dead, dead_bytes, \#(DeadLetterBytes.mostAccounts))
      return { lengths, later, bytes, tonumber(redis.call('HGET', stats, 'done')) or 0, accounts, list_bytes }
      """#)

  /// - Parameters:
  ///   - reply: To ``script``.
  ///   - info: To INFO with the section `memory`.
  /// - Throws: ``Hiredis/RedisServerError`` for an error reply, ``Hiredis/UnexpectedReply`` where something else came than was asked for.
  init(script reply: RedisReply, info: RedisReply) throws {
    let items = try reply.array()
    guard items.count == 6 else { throw UnexpectedReply(expected: "an array of 6", came: reply.shape) }
    lengths = try items[0].array().map { try $0.count() }
    guard lengths.count == QueueLayout.lists else {
      throw UnexpectedReply(expected: "\(QueueLayout.lists) lengths", came: "\(lengths.count)")
    }
    later = try items[1].count()
    bytes = try items[2].count()
    done = try items[3].count()
    deadBytes = try DeadLetterBytes(members: items[4].array())
    listBytes = try items[5].array().map { try $0.count() }
    guard listBytes.count == lengths.count else {
      throw UnexpectedReply(expected: "bytes of \(lengths.count) lists", came: "\(listBytes.count)")
    }
    if case .error(let error) = info {
      guard error.isDenial else { throw error }
      (memory, memoryLimit) = (nil, 0)
      return
    }
    guard let fields = InfoFields(info), let used = fields["used_memory"].flatMap({ Int64(countIn: $0) }),
      let limit = fields["maxmemory"].flatMap({ Int64(countIn: $0) })
    else { throw UnexpectedReply(expected: "used_memory and maxmemory in INFO", came: info.shape) }
    // What Redis keeps for its replicas and its file doesn't count where it compares the two itself.
    self.memory = used - (fields["mem_not_counted_for_evict"].flatMap { Int64(countIn: $0) } ?? 0)
    memoryLimit = limit
    // More can't be: a count is wrong, or what was estimated in its place.
    bytes = min(bytes, used)
  }
}

extension RedisReply {
  /// A number of entries or bytes. Beyond what can be, it isn't one: whoever reckons with it could come to the end of its integers, and that ends the process.
  func count() throws -> Int64 {
    let number = try integer()
    guard (0...Int64.mostCounted).contains(number) else {
      throw UnexpectedReply(expected: "a count", came: "the number \(number)")
    }
    return number
  }
}

extension Int64 {
  /// More than any Redis has of anything, and far from the end of the integers.
  static let mostCounted: Int64 = 1 << 50

  /// As ``Hiredis/RedisReply/count()``, from text; nil where it isn't one.
  init?(countIn text: some StringProtocol) {
    guard let number = Int64(text), (0...Self.mostCounted).contains(number) else { return nil }
    self = number
  }
}
