// A push and its result between the connection and ``PushHandler``. They contain no HTTP: the connection translates
// from and to HTTP.

internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica
internal import NIOCore

/// A payload of a client.
struct PushRequest: Sendable {
  /// The request's own fields for the envelope.
  var members: RequestMembers
  /// The client's idempotency key, by which a retry isn't a second payload; nil if there is none.
  var idempotencyKey: [UInt8]?
  var body = ByteBuffer()
}

/// Why a payload isn't accepted.
enum PushRejection: Error, Sendable {
  /// The key is proven not to be active.
  case refused(RefusalReason, Proof)
  /// Nothing can be proven about the key now.
  case undecided(Undecided)
  /// The node or the queue can't take the payload now, whatever its key.
  case unavailable(Unavailable)
  /// The queue is over its limit, for about this number of seconds.
  case overLimit(retryAfter: Int)
  /// The queue is nearly full, and the rest is reserved for accounts that send less than this one.
  case accountOverLimit(retryAfter: Int)
  /// The account's large payloads take too much of Redis's time.
  case accountSlowsRedis(retryAfter: Int)
  /// The account's payloads that wait for a retry exceed their share of the room.
  case tooManyRetries(retryAfter: Int)
  /// Too many payloads of the account couldn't be stored, and wait for an operator.
  case tooManyDeadLetters(retryAfter: Int)
  /// The payload was sent to Redis without a reply: it may be in the queue.
  /// - isRepeatable: Whether it has an Idempotency-Key, so that it can't become a second row.
  case outcomeUnknown(isRepeatable: Bool)
  /// The account exceeds its rate.
  /// - status: The operator's choice; nil for the dialect's own.
  case tooFast(TooFastStatus?)
  /// There is no key in any of the allowed places.
  case missingKey
  /// The value is longer than a key can be, in bytes. It can't be in any store, so there is nothing to prove.
  case keyTooLong(limit: Int)
  /// The events in the body can't be counted, but the client expects a status for each.
  case uncountable(String)
  case notFound
  case methodNotAllowed(allow: String)
  /// The payload is larger than this node accepts, in bytes.
  case tooLarge(limit: Int)
  /// The request isn't HTTP as this server accepts it.
  case unreadable(ProtocolError)

  /// Why a payload can't be accepted now.
  enum Unavailable: String, Sendable, CaseIterable {
    /// The node already holds the maximum of bytes.
    case nodeFull = "node_full"
    /// The account already holds its share of these bytes.
    case accountFull = "account_full"
    /// The client's network already holds its share of these bytes.
    case addressFull = "address_full"
    /// The node already holds the maximum of bytes of requests whose key hasn't arrived yet.
    case keylessFull = "keyless_full"
    /// Too many payloads in this node wait for Redis.
    case queueFull = "queue_full"
    case queueAway = "queue_away"
    /// Redis is less durable than this node must be to acknowledge a payload.
    case durabilityLost = "durability_lost"
    /// Redis answered the write with an error: it is full, read-only or still loading.
    case queueRefused = "queue_refused"
    /// Redis is unreachable, and the spool's disk space is used up, or its oldest payload is too old.
    case spoolFull = "spool_full"
    /// Redis is unreachable, and the spool's disk fails.
    case spoolFailed = "spool_failed"
    case shuttingDown = "shutting_down"
    /// The node, or the client's address, has the maximum of connections.
    case tooManyConnections = "too_many_connections"
  }
}

/// The status for an account that exceeds its rate. Always with Retry-After.
public enum TooFastStatus: Int, Sendable, CaseIterable {
  /// The standard status for this, and no load balancer repeats it. But old AppSignal agents shut down after it, and
  /// OTLP's exporter for Python drops its data.
  case tooManyRequests = 429
  /// AppSignal's agents treat it like 503, and load balancers don't repeat it by themselves. But OTLP's exporters drop
  /// their data, and so does libhoney.
  case internalServerError = 500
  /// Safe with every client. But a load balancer that asks another node after a 503 multiplies each push over the
  /// limit, and the effective limit is the sum of all nodes' limits.
  case serviceUnavailable = 503
  /// All of OTLP's exporters retry after it. But libhoney drops its data.
  case gatewayTimeout = 504
}

extension PushRejection.Unavailable {
  init(_ shortage: ByteBudget.Shortage) {
    self =
      switch shortage {
      case .total: .nodeFull
      case .account: .accountFull
      case .network: .addressFull
      case .keyless: .keylessFull
      }
  }
}
