// A shard as an operator wants to see it: what ``QueueState`` says, list by list, with what comes due and what has left. Apart from it,
// because whoever needs only sums asks often, and this costs a look at each list's end.

internal import Hiredis
internal import NIOCore
public import RedisClient

/// A shard of the queue in detail.
public struct QueueSurvey: Sendable, Equatable {
  /// One of the lists of envelopes that nobody works on.
  public struct List: Sendable, Equatable {
    public var number: Int
    public var envelopes: Int64
    /// When the next one to be taken was received, in milliseconds since 1970 by a node's clock; nil where there is none or it can't be told.
    public var oldestReceivedAt: Int64?
  }

  public var state: QueueState
  /// All of them, list 0 first.
  public var lists: [List]
  /// When the next envelope is tried again, in milliseconds since 1970 by Redis's clock.
  public var nextDueAt: Int64?
  /// Dead letters that were put back or thrown away, since the shard began.
  public var requeued: Int64
  public var discarded: Int64
  /// Why the newest dead letters are there, at most ``reasonsOf`` of them.
  public var reasons: ReasonCounts
  public var deadBytes: DeadLetterBytes

  /// Of how many dead letters the reasons are counted.
  public static let reasonsOf = 10_000
  /// Of how many accounts the bytes of dead letters are read.
  public static let accountsNamed = 10

  /// When the oldest of all that are next in their lists was received.
  public var oldestReceivedAt: Int64? { lists.compactMap(\.oldestReceivedAt).min() }

  /// Reads the shard. Writes nothing.
  public static func read(
    from client: RedisClient, layout: QueueLayout, within limit: Duration = .seconds(5)
  ) async throws(QueueFailure) -> QueueSurvey {
    // All on their way at once. They were never of one moment: the reasons take as many commands as there are pages of letters.
    async let state = outcome { () throws(QueueFailure) in
      try await QueueState.read(from: client, layout: layout, within: limit)
    }
    async let reasons = outcome { () throws(QueueFailure) in
      try await DeadLetters(client: client, layout: layout).reasons(ofNewest: reasonsOf)
    }
    async let bytes = outcome { () throws(QueueFailure) in
      try await DeadLetterBytes.read(from: client, layout: layout, accounts: accountsNamed, within: limit)
    }
    let reply: RedisReply
    do {
      reply = try await client.execute(
        script, keys: [layout.later, layout.stats] + layout.pending,
        within: .nanoseconds(limit.milliseconds * 1_000_000))
    } catch {
      throw QueueFailure(error)
    }
    let (found, counted, weighed) = (try await state.get(), try await reasons.get(), try await bytes.get())
    return try QueueFailure.catching { try QueueSurvey(found, counted, weighed, reply.array()) }
  }

  private static func outcome<Value>(
    _ body: () async throws(QueueFailure) -> Value
  ) async -> Result<Value, QueueFailure> {
    do throws(QueueFailure) { return .success(try await body()) } catch { return .failure(error) }
  }

  private init(
    _ state: QueueState, _ reasons: ReasonCounts, _ deadBytes: DeadLetterBytes, _ items: [RedisReply]
  ) throws {
    func number(_ place: Int) throws -> Int64? {
      guard let text = try items.item(place).stringOrNull() else { return nil }
      // A score is a number that may be written with a point.
      guard let number = Double(text), abs(number) < 1e18 else {
        throw UnexpectedReply(expected: "a number", came: "\"\(text.prefix(100))\"")
      }
      return Int64(number)
    }
    self.state = state
    self.reasons = reasons
    self.deadBytes = deadBytes
    // By the clock of what is tried again, which may be behind Redis's.
    let clock = try items.item(4).stringOrNull()?.split(separator: " ") ?? []
    let behind = clock.count == 3 ? Int64(clock[1]).flatMap { abs($0) < 1 << 50 ? $0 : nil } ?? 0 : 0
    nextDueAt = try number(0).map { $0 + behind }
    requeued = try number(1) ?? 0
    discarded = try number(2) ?? 0
    let oldest = try items.item(3).array()
    lists = try state.lists.enumerated().map { place, envelopes in
      let receivedAt = try oldest.item(place).integer()
      return List(number: place, envelopes: envelopes, oldestReceivedAt: receivedAt < 0 ? nil : receivedAt)
    }
  }

  /// KEYS later, stats, then the lists of envelopes that nobody works on.
  private static let script = RedisScript(
    name: "survey",
    source: #"""
      #!lua flags=no-writes
      local function received_at(envelope)
        local line = envelope and string.match(string.sub(envelope, 1, 65536), '^[^\n]*')
        local good, header = pcall(cjson.decode, line or '')
        return good and type(header) == 'table' and tonumber(header.received_at) or -1
      end

      local stats = redis.call('HMGET', KEYS[2], 'requeued', 'discarded', 'clock')
      local oldest = {}
      for i = 3, #KEYS do oldest[#oldest + 1] = received_at(redis.call('LINDEX', KEYS[i], -1)) end
      return { redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or false, stats[1], stats[2], oldest, stats[3] }
      """#)
}
