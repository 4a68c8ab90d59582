// Why a payload wasn't pushed. The cases are those that the node must tell apart: in all of them the client hears 503 (or 413),
// but only where the outcome isn't known may the payload be in the queue all the same.

public import Hiredis
public import RedisClient

/// Why a payload wasn't acknowledged by Redis.
public enum EnqueueError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A bound of the producer, so that a Redis that is away or slow can't fill the node's memory. Nothing was sent.
  public enum Bound: Sendable, Equatable {
    /// So many entries wait.
    case entries(Int)
    /// So many bytes wait or are in flight.
    case bytes(Int)
  }

  /// The producer is at one of its bounds. Nothing was sent.
  case full(Bound)
  /// The queue has been over its high-water mark, and isn't under the low one yet. Nothing was sent.
  /// - Parameter retryAfter: When it should be, in seconds; spread out, so that clients don't come back as one.
  case overLimit(retryAfter: Int)
  /// What is left of the queue's room is kept for accounts that send less. Nothing was sent.
  /// - Parameter retryAfter: As above.
  case accountOverLimit(retryAfter: Int)
  /// The account's large payloads have taken more than their share of Redis's time. Nothing was sent.
  /// - Parameter retryAfter: When the next one may come, in seconds.
  case accountSlowsRedis(retryAfter: Int)
  /// The account has as many dead letters as it may. Nothing was sent.
  /// - Parameter retryAfter: When to try again, in seconds. It won't help before somebody has dealt with them.
  case tooManyDeadLetters(retryAfter: Int)
  /// Redis doesn't promise what is required of an acknowledgement, or isn't known to; why, in words. Nothing was sent.
  case durabilityLost(String)
  /// Redis is away, or didn't take earlier batches before this one was due. Nothing was sent.
  case away(RedisError)
  /// It was sent and the answer didn't come: it is in the queue or not, and nobody here can know.
  case unknownOutcome(RedisError)
  /// Redis has it, and fewer replicas than required confirmed it in time: a failover may lose it or keep it.
  case unconfirmed(replicas: Int64, required: Int)
  /// Redis said no (out of memory, read-only, still loading, …). Nothing was pushed.
  case refused(RedisServerError)
  /// The envelope, or the line of JSON before it, is over its limit. Nothing was sent.
  case tooLarge(bytes: Int, limit: Int)
  /// The producer is ending. Nothing was sent.
  case shuttingDown

  public var description: String {
    switch self {
    case .full(.entries(let limit)): "the producer is full: \(limit) entries wait for Redis"
    case .full(.bytes(let limit)): "the producer is full: \(limit) bytes are on their way to Redis"
    case .overLimit(let seconds): "not pushed: the queue is over its limit, for about \(seconds) s"
    case .accountOverLimit(let seconds):
      "not pushed: the queue is nearly full, and this account sends and holds much of it, for about \(seconds) s"
    case .accountSlowsRedis(let seconds):
      "not pushed: this account's large payloads take too much of Redis's time, for about \(seconds) s"
    case .tooManyDeadLetters: "not pushed: the account has too many dead letters"
    case .durabilityLost(let why): "not pushed: \(why)"
    case .away(let error): "not pushed: \(error)"
    case .unknownOutcome(let error): "pushed without an answer: \(error)"
    case .unconfirmed(let replicas, let required): "pushed, and confirmed by \(replicas) of \(required) replicas"
    case .refused(let error): "not pushed: \(error)"
    case .tooLarge(let bytes, let limit): "not pushed: \(bytes) bytes, the limit is \(limit)"
    case .shuttingDown: "not pushed: the producer is ending"
    }
  }
}
