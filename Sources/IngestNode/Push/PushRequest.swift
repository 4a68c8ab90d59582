// A push as the gate sees it, and what it says to it. There is no HTTP in it: whatever reads requests fills in the one and writes the other.

internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica
internal import NIOCore

/// A payload that somebody wants taken.
struct PushRequest: Sendable {
  /// What the request says of itself.
  var members: RequestMembers
  /// What the client sent so that a retry isn't a second payload; nil if it sent nothing.
  var idempotencyKey: [UInt8]?
  var body = ByteBuffer()
}

/// Why a payload isn't taken.
enum PushRejection: Error, Sendable {
  /// The key is proven not to be active.
  case refused(RefusalReason, Proof)
  /// Nothing can be proven about the key now.
  case undecided(Undecided)
  /// The key is good, and the payload can't be handed over now.
  case unavailable(Unavailable)
  /// The queue is over its limit, for about so many seconds.
  case overLimit(retryAfter: Int)
  /// The queue has little room left, which is kept for accounts that send less than this one.
  case accountOverLimit(retryAfter: Int)
  /// The account's large payloads take too much of Redis's time.
  case accountSlowsRedis(retryAfter: Int)
  /// Too many payloads of the account couldn't be stored, and wait for somebody to look at them.
  case tooManyDeadLetters(retryAfter: Int)
  /// The payload was handed over, and no answer came: it may be in the queue.
  /// - isRepeatable: Whether it has an Idempotency-Key, so that it can't become a second row.
  case outcomeUnknown(isRepeatable: Bool)
  /// The account sends more than it may.
  /// - status: What the operator has chosen; nil for what the dialect's clients bear.
  case tooFast(TooFastStatus?)
  /// There is no key in any of the places where one may be.
  case missingKey
  /// What stands there is longer than a key can be, in bytes. It can't be in any store, so there is nothing to be proven.
  case keyTooLong(limit: Int)
  /// The events in the body can't be counted, which their sender wants an answer for one by one.
  case uncountable(String)
  case notFound
  case methodNotAllowed(allow: String)
  /// The payload is larger than this node takes, in bytes.
  case tooLarge(limit: Int)
  /// It isn't HTTP as this server reads it.
  case unreadable(ProtocolError)

  /// Why a payload can't be handed over.
  enum Unavailable: String, Sendable, CaseIterable {
    /// The node has as much in hand as it may.
    case nodeFull = "node_full"
    /// So has the account, its share of that.
    case accountFull = "account_full"
    /// So has the client's address, its share of that.
    case addressFull = "address_full"
    /// The node has as many bytes in hand as it may of requests whose key hasn't come yet.
    case keylessFull = "keyless_full"
    /// So has the way to the queue.
    case queueFull = "queue_full"
    case queueAway = "queue_away"
    /// Redis doesn't promise what this node needs to acknowledge a payload.
    case durabilityLost = "durability_lost"
    /// Redis said no: it is full, read-only or still loading.
    case queueRefused = "queue_refused"
    /// Redis is away, and the node's own disk has no room, or has had payloads for too long.
    case spoolFull = "spool_full"
    /// Redis is away, and the node's own disk doesn't do what it should.
    case spoolFailed = "spool_failed"
    case shuttingDown = "shutting_down"
    /// The node, or the client's address, has as many connections as it may.
    case tooManyConnections = "too_many_connections"
  }
}

/// What an account hears that sends more than it may. In every case with Retry-After.
public enum TooFastStatus: Int, Sendable, CaseIterable {
  /// What the word says, and no balancer repeats it. But old AppSignal agents end themselves on it, and OTLP's
  /// exporter for Python drops its data.
  case tooManyRequests = 429
  /// AppSignal's agents treat it as they do 503, and balancers don't repeat it by themselves. But OTLP's exporters
  /// drop their data, and so does libhoney.
  case internalServerError = 500
  /// Safe with every client. But a balancer that asks another node after a 503 makes of one push too many several,
  /// and of the limit the sum of all nodes' limits.
  case serviceUnavailable = 503
  /// All of OTLP's exporters send again after it. But libhoney drops its data.
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
