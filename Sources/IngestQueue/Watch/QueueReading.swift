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
  /// - Parameter info: To INFO with the section `memory`.
  /// - Throws: ``Hiredis/RedisServerError`` for an error reply, ``Hiredis/UnexpectedReply`` where something else came than was asked for.
  init(level: LevelScript.Reply, info: RedisReply) throws {
    lengths = level.lengths
    later = level.later
    bytes = level.bytes
    listBytes = level.listBytes
    done = level.done
    deadBytes = level.deadBytes
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
