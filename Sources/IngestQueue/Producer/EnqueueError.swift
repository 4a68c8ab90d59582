// Why a payload wasn't pushed. The node must distinguish these cases. In all of them the client gets 503 (or 413). Only
// after an unknown outcome may the payload be in the queue.

public import Hiredis
public import RedisClient

/// Why a payload wasn't acknowledged by Redis.
public enum EnqueueError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A limit of the producer, so that an unreachable or slow Redis can't fill the node's memory. Nothing was sent.
  public enum Bound: Sendable, Equatable {
    /// The maximum number of entries waits.
    case entries(Int)
    /// The maximum number of bytes waits or is in flight.
    case bytes(Int)
  }

  /// The producer has reached one of its limits. Nothing was sent.
  case full(Bound)
  /// The queue was over its high-water mark, and isn't below the low one yet. Nothing was sent.
  /// - Parameter retryAfter: Expected seconds until it is below; randomised, so that clients don't all return at the
  ///   same time.
  case overLimit(retryAfter: Int)
  /// The rest of the queue's room is reserved for accounts that send less. Nothing was sent.
  /// - Parameter retryAfter: As above.
  case accountOverLimit(retryAfter: Int)
  /// The account's large payloads have used more than their share of Redis's time. Nothing was sent.
  /// - Parameter retryAfter: Seconds until the next one is accepted.
  case accountSlowsRedis(retryAfter: Int)
  /// Too many of the account's payloads wait for a retry, because the sink didn't accept them. Nothing was sent.
  /// - Parameter retryAfter: As above.
  case tooManyRetries(retryAfter: Int)
  /// The account has too many dead letters. Nothing was sent.
  /// - Parameter retryAfter: Seconds until the client should try again. No retry succeeds before an operator has
  ///   requeued or discarded some dead letters.
  case tooManyDeadLetters(retryAfter: Int)
  /// Redis is less durable than required, or its durability is unknown; the reason as text. Nothing was sent.
  case durabilityLost(String)
  /// Redis is unreachable, or didn't accept earlier batches before this one's deadline. Nothing was sent.
  case away(RedisError)
  /// It was sent and no reply arrived. The producer can't know whether it is in the queue.
  case unknownOutcome(RedisError)
  /// Redis has it, but fewer replicas than required confirmed it in time. After a failover it may be lost or not.
  case unconfirmed(replicas: Int64, required: Int)
  /// Redis refused the write (out of memory, read-only, still loading, …). Nothing was pushed.
  case refused(RedisServerError)
  /// The envelope, or the line of JSON before it, is over its limit. Nothing was sent.
  case tooLarge(bytes: Int, limit: Int)
  /// The producer is ending. Nothing was sent.
  case shuttingDown

  public var description: String {
    switch self {
    case .full(.entries(let limit)): "not pushed: too many payloads wait for Redis on this event loop (limit \(limit))"
    case .full(.bytes(let limit)): "not pushed: too many bytes wait for Redis on this event loop (limit \(limit))"
    case .overLimit(let seconds): "not pushed: the queue is over its limit. Retry in about \(seconds) s"
    case .accountOverLimit(let seconds):
      "not pushed: the queue is nearly full, and this account has more than its share waiting. Retry in about \(seconds) s"
    case .accountSlowsRedis(let seconds):
      "not pushed: this account's large payloads use too much of Redis's time. Retry in about \(seconds) s"
    case .tooManyRetries(let seconds):
      "not pushed: too many payloads of the account wait for a retry. Retry in about \(seconds) s"
    case .tooManyDeadLetters: "not pushed: the account has too many dead letters"
    case .durabilityLost(let why): "not pushed: \(why)"
    case .away(let error): "not pushed: \(error)"
    case .unknownOutcome(let error): "sent to Redis without an answer, so the payload may be stored: \(error)"
    case .unconfirmed(let replicas, let required):
      "pushed, but confirmed by only \(replicas) of \(required) required replicas"
    case .refused(let error): "not pushed: \(error)"
    case .tooLarge(let bytes, let limit): "not pushed: \(bytes) bytes, the limit is \(limit)"
    case .shuttingDown: "not pushed: the process is shutting down"
    }
  }
}
