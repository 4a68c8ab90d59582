// The interface of destinations for payloads. The queue delivers at least once, so a sink must recognise an envelope's
// ID: only that turns "at least once" into "once".

public import IngestQueue
internal import Synchronization

/// A payload for a sink.
public struct Delivery: Sendable {
  public let header: EnvelopeHeader
  public let body: DecodedBody

  public init(header: EnvelopeHeader, body: DecodedBody) {
    self.header = header
    self.body = body
  }
}

/// The result of one delivery.
public enum SinkOutcome: Sendable, Equatable {
  /// The payload is stored, and survives a crash.
  case stored
  /// An envelope with this ID was stored before; nothing was changed.
  case duplicate
  /// This payload can't be stored; the others of its batch are not affected. The failure is counted: the payload
  /// becomes a dead letter after the maximum of attempts, or at once if it isn't retryable.
  case failed(reason: String, retryable: Bool)
  /// This payload wasn't stored now, and is delivered again later. The others of its batch are not affected.
  case postponed(Postponement)
  /// This payload wasn't tried. It returns to the front of the queue, and the sink asks for a pause of this length.
  case untried(retryAfter: Duration?)
  /// This payload wasn't tried, because its account has used its share of the sink's time. It is delivered again after
  /// other accounts' payloads.
  case setAside
}

/// Why a payload is delivered again later, and after which delay.
public struct Postponement: Sendable, Equatable {
  public let reason: String
  /// Whether this counts as a failed attempt of the payload. False if it is unknown whether the payload or the sink is
  /// at fault.
  public let isCounted: Bool
  /// Number of failures so far, if known to the sink. The more failures, the longer the pause.
  public let failures: Int
  /// The minimum pause.
  public let after: Duration

  public init(reason: String, isCounted: Bool, failures: Int, after: Duration = .zero) {
    self.reason = reason
    self.isCounted = isCounted
    self.failures = failures
    self.after = after
  }
}

/// No payload of a batch counts as stored, because the sink is down, locked or full. The same batch may succeed later.
public struct SinkFailure: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
  /// The pause that the sink asks for; nil if it doesn't.
  public let retryAfter: Duration?
  let cause: Cause

  /// The possible cause.
  enum Cause: Sendable {
    /// The sink, probably.
    case sink
    /// Perhaps one payload of the batch. The others should be tried without it.
    case perhapsPayload
    /// The sink has no room, perhaps only for one payload of the batch. A payload is never at fault for that.
    case noRoom
  }

  public init(_ description: String, retryAfter: Duration? = nil) {
    self.init(description, retryAfter: retryAfter, cause: .sink)
  }

  init(_ description: String, retryAfter: Duration? = nil, cause: Cause) {
    self.description = description
    self.retryAfter = retryAfter
    self.cause = cause
  }
}

/// A destination that stores payloads.
///
/// Several batches may be stored at the same time, also by several processes. Storing is idempotent by the envelope's
/// ID. When its task is cancelled, ``store(_:)`` ends soon: everything is stored, or it throws.
public protocol Sink: Sendable {
  /// Stores a batch. When this returns, payloads with the result `stored` survive a crash of the machine.
  /// - Returns: One result for each delivery, in their order.
  /// - Throws: If no delivery is certain to be stored. (All of them may be.)
  func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome]

  /// Does the same as ``store(_:)``, and reports the accounts whose payloads it still waits for, if it knows them.
  func store(_ deliveries: [Delivery], saying progress: SinkProgress) async throws(SinkFailure) -> [SinkOutcome]

  /// Closes the sink, after the last batch.
  func close() async throws(SinkFailure)

  /// Its name in reports, without secrets.
  var name: String { get }

  /// After this time without results other payloads are tried beside a batch; nil if they would only wait behind the
  /// batch.
  var patience: Duration? { get }
}

extension Sink {
  public var patience: Duration? { nil }

  public func store(
    _ deliveries: [Delivery], saying progress: SinkProgress
  ) async throws(SinkFailure) -> [SinkOutcome] { try await store(deliveries) }
}

/// The accounts in a batch whose payloads a sink still waits for.
public final class SinkProgress: Sendable {
  private let state = Mutex<Set<String>>([])

  public init() {}

  /// Accounts; empty if unknown.
  public var accounts: Set<String> {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}
