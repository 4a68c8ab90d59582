// A push as the gate sees it. There is no HTTP in it: whatever reads requests fills in the one and writes the other.

public import IngestQueue
public import KeyReplica
public import NIOCore

/// A payload that somebody wants taken.
public struct PushRequest: Sendable {
  /// The key as it was presented; nil if there was none.
  public var key: [UInt8]?
  /// Without the query, which may hold the key.
  public var path: String
  public var contentType: String?
  public var contentEncoding: String?
  public var traceparent: String?
  /// What the client sent so that a retry isn't a second payload; nil if it sent nothing.
  public var idempotencyKey: [UInt8]?
  public var body: ByteBuffer

  public init(
    key: [UInt8]?, path: String, contentType: String? = nil, contentEncoding: String? = nil, traceparent: String? = nil,
    idempotencyKey: [UInt8]? = nil, body: ByteBuffer
  ) {
    self.key = key
    self.path = path
    self.contentType = contentType
    self.contentEncoding = contentEncoding
    self.traceparent = traceparent
    self.idempotencyKey = idempotencyKey
    self.body = body
  }
}

/// What is said to a push.
public enum PushAnswer: Sendable {
  /// Redis has the payload.
  case accepted(EnvelopeID)
  /// The key is proven not to be active.
  case refused(RefusalReason, Proof)
  /// Nothing can be proven about the key now.
  case undecided(Undecided)
  /// The key is good, and the payload can't be handed over now.
  case unavailable(Unavailable)
  /// The request makes no sense.
  case malformed(Malformed)
  /// The payload is larger than this node takes, in bytes.
  case tooLarge(limit: Int)

  /// Why a payload can't be handed over.
  public enum Unavailable: String, Sendable, CaseIterable {
    /// The node has as much in hand as it may.
    case queueFull = "queue_full"
    case queueAway = "queue_away"
    /// It was sent to Redis and no answer came. A retry with an Idempotency-Key can't become a second row.
    case outcomeUnknown = "outcome_unknown"
    /// Redis said no: it is full, read-only or still loading.
    case queueRefused = "queue_refused"
    case shuttingDown = "shutting_down"
  }

  public enum Malformed: String, Sendable, CaseIterable {
    /// There is no key in any of the places where one may be.
    case missingKey = "missing_key"
    case notFound = "not_found"
    case methodNotAllowed = "method_not_allowed"
  }
}
