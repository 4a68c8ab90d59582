// The content of a shard, read in one script so that the numbers are consistent: an envelope that moves from one list
// to another is counted once.

internal import Hiredis
internal import NIOCore
public import RedisClient

/// The queue as it was at one moment.
public struct QueueState: Sendable, Equatable {
  /// A worker's claim of envelopes.
  public struct Claim: Sendable, Equatable {
    public var worker: String
    public var slot: Int
    public var envelopes: Int64
    /// Empty if the reaper has it, or if the list has no header.
    public var instance: String
    /// In milliseconds since 1970, as all times here.
    public var leaseUntil: Int64
    public var claimedAt: Int64
  }

  /// A worker that has claimed or polled lately.
  public struct Worker: Sendable, Equatable {
    public var name: String
    public var instance: String
    public var seenAt: Int64
  }

  /// Redis's clock when this was read.
  public var readAt: Int64
  /// Unclaimed envelopes, by list: list 0, then those that accounts share.
  public var lists: [Int64]
  /// Envelopes that failed and wait for a retry.
  public var later: Int64
  /// Dead letters.
  public var dead: Int64
  /// Envelopes that have failed at least once and aren't finished.
  public var failing: Int64
  /// Time of receipt of the oldest envelope among the lists' next ones. Nil if the lists are empty, or it is unknown.
  public var oldestReceivedAt: Int64?
  public var workers: [Worker]
  public var claims: [Claim]
  /// Envelopes that were stored and removed from the queue, since the shard began.
  public var done: Int64

  /// Unclaimed envelopes.
  public var pending: Int64 { lists.reduce(0, +) }

  /// Envelopes in claims.
  public var claimed: Int64 { claims.reduce(0) { $0 + $1.envelopes } }

  /// Reads the state. Writes nothing.
  public static func read(
    from client: RedisClient, layout: QueueLayout = QueueLayout(), within limit: Duration = .seconds(5)
  ) async throws(QueueFailure) -> QueueState {
    let script = StateScript(layout: layout)
    let reply: RedisReply
    do {
      reply = try await client.execute(script, within: .nanoseconds(limit.milliseconds * 1_000_000))
    } catch {
      throw QueueFailure(error)
    }
    return try QueueFailure.catching { try script.read(reply) }
  }
}
