// The state of a shard for an operator: as ``QueueState``, but for each list, with the retries that are due and the
// counters of finished envelopes. It is separate because callers that need only sums read often, and this also reads
// the end of each list.

internal import Hiredis
internal import NIOCore
public import RedisClient

/// A shard of the queue in detail.
public struct QueueSurvey: Sendable, Equatable {
  /// One of the lists of unclaimed envelopes.
  public struct List: Sendable, Equatable {
    public var number: Int
    public var envelopes: Int64
    /// When the next envelope was received, in milliseconds since 1970 by a node's clock; nil if there is none or it is
    /// unknown.
    public var oldestReceivedAt: Int64?
  }

  public var state: QueueState
  /// All of them, list 0 first.
  public var lists: [List]
  /// The time of the next retry, in milliseconds since 1970 by Redis's clock.
  public var nextDueAt: Int64?
  /// Dead letters that were requeued or discarded, since the shard began.
  public var requeued: Int64
  public var discarded: Int64
  /// The reasons of the newest dead letters, at most ``reasonsOf`` of them.
  public var reasons: ReasonCounts
  public var deadBytes: AccountBytes

  /// Maximum dead letters whose reasons are counted.
  public static let reasonsOf = 10_000
  /// Maximum accounts whose bytes of dead letters are read.
  public static let accountsNamed = 10

  /// When the oldest of the lists' next envelopes was received.
  public var oldestReceivedAt: Int64? { lists.compactMap(\.oldestReceivedAt).min() }

  /// Reads the shard. Writes nothing.
  public static func read(
    from client: RedisClient, layout: QueueLayout, within limit: Duration = .seconds(5)
  ) async throws(QueueFailure) -> QueueSurvey {
    // All in parallel. They can't be from one moment: the reasons take one command for each page of dead letters.
    async let state = outcome { () throws(QueueFailure) in
      try await QueueState.read(from: client, layout: layout, within: limit)
    }
    async let reasons = outcome { () throws(QueueFailure) in
      try await DeadLetters(client: client, layout: layout).reasons(ofNewest: reasonsOf)
    }
    async let bytes = outcome { () throws(QueueFailure) in
      try await AccountBytes.ofDeadLetters(from: client, layout: layout, accounts: accountsNamed, within: limit)
    }
    let script = SurveyScript(layout: layout)
    let reply: RedisReply
    do {
      reply = try await client.execute(script, within: .nanoseconds(limit.milliseconds * 1_000_000))
    } catch {
      throw QueueFailure(error)
    }
    let (found, counted, weighed) = (try await state.get(), try await reasons.get(), try await bytes.get())
    return try QueueFailure.catching { try QueueSurvey(found, counted, weighed, script.read(reply)) }
  }

  private static func outcome<Value>(
    _ body: () async throws(QueueFailure) -> Value
  ) async -> Result<Value, QueueFailure> {
    do throws(QueueFailure) { return .success(try await body()) } catch { return .failure(error) }
  }

  private init(
    _ state: QueueState, _ reasons: ReasonCounts, _ deadBytes: AccountBytes, _ survey: SurveyScript.Reply
  ) throws {
    guard survey.receivedAt.count >= state.lists.count else {
      throw UnexpectedReply(
        expected: "at least \(state.lists.count) items", came: "an array of \(survey.receivedAt.count)")
    }
    self.state = state
    self.reasons = reasons
    self.deadBytes = deadBytes
    nextDueAt = survey.nextDueAt
    requeued = survey.requeued
    discarded = survey.discarded
    lists = zip(state.lists, survey.receivedAt).enumerated().map { number, list in
      List(number: number, envelopes: list.0, oldestReceivedAt: list.1)
    }
  }
}
