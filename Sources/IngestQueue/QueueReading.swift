// How full a shard and its Redis are, as the gate needs it: one read-only script and an INFO, a few dozen microseconds of Redis's time.

internal import Hiredis
internal import RedisClient

/// What was read of a shard at one moment.
public struct QueueReading: Sendable, Equatable {
  /// Of the pending lists, in their order.
  public var lengths: [Int64]
  /// Envelopes that are tried again later.
  public var later: Int64
  /// Bytes of both, as Redis's allocator counts them, estimated from a few elements of each list.
  public var bytes: Int64
  /// Of all that counts against the limit, in Redis as a whole; nil where INFO can't be used, so that only what Redis
  /// refuses shows that it is full.
  public var memory: Int64?
  /// `maxmemory`; 0 where there is none or it can't be told.
  public var memoryLimit: Int64
  /// Envelopes that were stored and have left the queue, ever since there is this queue.
  public var done: Int64
  public var deadBytes: DeadLetterBytes

  public init(
    lengths: [Int64], later: Int64 = 0, bytes: Int64 = 0, memory: Int64? = 0, memoryLimit: Int64 = 0, done: Int64 = 0,
    deadBytes: DeadLetterBytes = DeadLetterBytes()
  ) {
    self.lengths = lengths
    self.later = later
    self.bytes = bytes
    self.memory = memory
    self.memoryLimit = memoryLimit
    self.done = done
    self.deadBytes = deadBytes
  }

  /// Envelopes that wait for a worker, now or later. Not those in the hands of workers, whose number has a bound of its own, and not dead
  /// letters, which no worker takes away: a gate that counted them would never open again by itself.
  public var entries: Int64 { lengths.reduce(later, +) }
}

extension QueueReading {
  static func keys(_ layout: QueueLayout) -> [String] {
    layout.pending + [layout.later, layout.stats, layout.dead, layout.deadBytes]
  }

  /// KEYS the pending lists, later, stats, dead, bytes of dead letters.
  static let script = RedisScript(
    name: "level",
    source: "#!lua flags=no-writes\n" + DeadLetterBytes.reading
      + #"""
      local later_key, stats, dead, dead_bytes = KEYS[#KEYS - 3], KEYS[#KEYS - 2], KEYS[#KEYS - 1], KEYS[#KEYS]
      local lengths, bytes = {}, 0
      for i = 1, #KEYS - 4 do
        lengths[i] = redis.call('LLEN', KEYS[i])
        if lengths[i] > 0 then bytes = bytes + redis.call('MEMORY', 'USAGE', KEYS[i], 'SAMPLES', 20) end
      end
      local later = redis.call('ZCARD', later_key)
      if later > 0 then bytes = bytes + redis.call('MEMORY', 'USAGE', later_key, 'SAMPLES', 20) end
      local accounts = read_dead_bytes(dead, dead_bytes, \#(DeadLetterBytes.mostAccounts))
      return { lengths, later, bytes, tonumber(redis.call('HGET', stats, 'done')) or 0, accounts }
      """#)

  /// - Parameters:
  ///   - reply: To ``script``.
  ///   - info: To INFO with the section `memory`.
  /// - Throws: ``Hiredis/RedisServerError`` for an error reply, ``Hiredis/UnexpectedReply`` where something else came than was asked for.
  init(script reply: RedisReply, info: RedisReply) throws {
    let items = try reply.array()
    guard items.count == 5 else { throw UnexpectedReply(expected: "an array of 5", came: reply.shape) }
    lengths = try items[0].array().map { try $0.integer() }
    guard lengths.count == QueueLayout.lists else {
      throw UnexpectedReply(expected: "\(QueueLayout.lists) lengths", came: "\(lengths.count)")
    }
    later = try items[1].integer()
    bytes = try items[2].integer()
    done = try items[3].integer()
    deadBytes = try DeadLetterBytes(members: items[4].array())
    if case .error(let error) = info {
      guard error.isDenial else { throw error }
      (memory, memoryLimit) = (nil, 0)
      return
    }
    guard let fields = InfoFields(info), let used = fields["used_memory"].flatMap({ Int64($0) }),
      let limit = fields["maxmemory"].flatMap({ Int64($0) })
    else { throw UnexpectedReply(expected: "used_memory and maxmemory in INFO", came: info.shape) }
    // What Redis keeps for its replicas and its file doesn't count where it compares the two itself.
    self.memory = used - (fields["mem_not_counted_for_evict"].flatMap { Int64($0) } ?? 0)
    memoryLimit = limit
    // MEMORY USAGE takes a sample from the list's head for the whole: a few large payloads there would count for all of it.
    bytes = min(bytes, used)
  }
}
