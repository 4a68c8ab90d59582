// How full a shard and its Redis are, for ``Admission``: one read-only script and an INFO, a few dozen microseconds of
// Redis's time.

internal import Hiredis
internal import RedisClient

/// The state of a shard at one moment.
public struct QueueReading: Sendable, Equatable {
  /// Lengths of the pending lists, in their order.
  public var lengths: [Int64]
  /// Envelopes that wait for a retry.
  public var later: Int64
  /// Bytes of all of these envelopes: as they were pushed, and 16 for each.
  public var bytes: Int64
  /// Bytes in each pending list, in their order.
  public var listBytes: [Int64]
  /// Redis's memory that counts for the limit; nil if INFO can't be used. Then only Redis's refusals show that it is
  /// full.
  public var memory: Int64?
  /// `maxmemory`; 0 if there is none or it is unknown.
  public var memoryLimit: Int64
  /// Envelopes that were stored and removed from the queue, since the shard began.
  public var done: Int64
  public var deadBytes: AccountBytes
  /// Bytes that wait for a retry, by account. At most ``AccountBytes/mostAccounts`` accounts, those with the most.
  public var retries: AccountBytes

  public init(
    lengths: [Int64], later: Int64 = 0, bytes: Int64 = 0, listBytes: [Int64]? = nil, memory: Int64? = 0,
    memoryLimit: Int64 = 0, done: Int64 = 0,
    deadBytes: AccountBytes = AccountBytes(), retries: AccountBytes = AccountBytes()
  ) {
    self.lengths = lengths
    self.later = later
    self.bytes = bytes
    self.listBytes = listBytes ?? lengths.map { _ in 0 }
    self.memory = memory
    self.memoryLimit = memoryLimit
    self.done = done
    self.deadBytes = deadBytes
    self.retries = retries
  }

  /// Envelopes that wait for a worker, now or later. Claimed envelopes aren't counted, because they have another limit.
  /// Dead letters aren't counted either: no worker removes them, so a shard that was shut for them would never open
  /// again by itself.
  public var entries: Int64 { lengths.reduce(later, +) }

  var entriesByList: ListAmounts { ListAmounts(lists: lengths, later: later) }

  var bytesByList: ListAmounts {
    ListAmounts(lists: listBytes, later: max(0, bytes - listBytes.reduce(0, +)))
  }
}

extension QueueReading {
  /// - Parameter info: The reply to INFO with the section `memory`.
  /// - Throws: ``Hiredis/RedisServerError`` for an error reply, ``Hiredis/UnexpectedReply`` for an unexpected one.
  init(level: LevelScript.Reply, info: RedisReply) throws {
    lengths = level.lengths
    later = level.later
    bytes = level.bytes
    listBytes = level.listBytes
    done = level.done
    deadBytes = level.deadBytes
    retries = level.retries
    if case .error(let error) = info {
      guard error.isDenial else { throw error }
      (memory, memoryLimit) = (nil, 0)
      return
    }
    guard let fields = InfoFields(info), let used = fields["used_memory"].flatMap({ Int64(countIn: $0) }),
      let limit = fields["maxmemory"].flatMap({ Int64(countIn: $0) })
    else { throw UnexpectedReply(expected: "used_memory and maxmemory in INFO", came: info.shape) }
    // As Redis does for its own comparison, the buffers for its replicas and its file are subtracted.
    self.memory = used - (fields["mem_not_counted_for_evict"].flatMap { Int64(countIn: $0) } ?? 0)
    memoryLimit = limit
    // More bytes than used memory are impossible: a count or an estimate is wrong.
    bytes = min(bytes, used)
  }
}

extension RedisReply {
  /// A number of entries or bytes. An impossibly large number is an error: a calculation with it could overflow and
  /// crash the process.
  func count() throws -> Int64 {
    let number = try integer()
    guard (0...Int64.mostCounted).contains(number) else {
      throw UnexpectedReply(expected: "a count", came: "the number \(number)")
    }
    return number
  }
}

extension Int64 {
  /// More than any Redis has of anything, and far below the maximum integer.
  static let mostCounted: Int64 = 1 << 50

  /// As ``Hiredis/RedisReply/count()``, from text; nil if it isn't one.
  init?(countIn text: some StringProtocol) {
    guard let number = Int64(text), (0...Self.mostCounted).contains(number) else { return nil }
    self = number
  }
}
