// Where payloads end. The queue delivers at least once, so a sink must know an envelope again by its id; that is all that makes
// "at least once" into "once".

public import IngestQueue
internal import Synchronization

/// A payload on its way into a sink.
public struct Delivery: Sendable {
  public let header: EnvelopeHeader
  public let body: DecodedBody

  public init(header: EnvelopeHeader, body: DecodedBody) {
    self.header = header
    self.body = body
  }
}

/// What became of one delivery.
public enum SinkOutcome: Sendable, Equatable {
  /// It is stored, so that it outlives a crash.
  case stored
  /// An envelope with this id was there already; nothing was changed.
  case duplicate
  /// This one can't be stored; the others of its batch are not concerned. It is counted: after some tries it is a dead letter, and at once
  /// where it isn't retryable.
  case failed(reason: String, retryable: Bool)
  /// This one wasn't stored now, and comes again later. The others of its batch are not concerned.
  case postponed(Postponement)
  /// This one wasn't tried. It goes back to the front of the queue, and the sink asks to be left alone for so long.
  case untried(retryAfter: Duration?)
  /// This one wasn't tried, because its account had its share of the sink's time. It comes again after what others have sent.
  case setAside
}

/// Why and for how long a payload comes later.
public struct Postponement: Sendable, Equatable {
  public let reason: String
  /// Whether this is a failed attempt of the payload's. False where nobody can tell if the payload or the sink is at fault.
  public let isCounted: Bool
  /// How often it failed so far, as far as the sink knows: the more often, the longer the pause. 0 where it hasn't failed.
  public let failures: Int
  /// The pause is at least this long.
  public let after: Duration

  public init(reason: String, isCounted: Bool, failures: Int, after: Duration = .zero) {
    self.reason = reason
    self.isCounted = isCounted
    self.failures = failures
    self.after = after
  }
}

/// Nothing of a batch may be taken for stored: the sink is away, locked or full. The same batch may succeed later.
public struct SinkFailure: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
  /// How long the sink asks to be left alone; nil where it doesn't say.
  public let retryAfter: Duration?
  let cause: Cause

  /// What may have caused it.
  enum Cause: Sendable {
    /// The sink, for all that is known.
    case sink
    /// Perhaps one payload of the batch, so that the others should be tried without it.
    case perhapsPayload
    /// There is no room, perhaps only for one payload of the batch. That is never the payload's fault.
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

/// A place where payloads are stored.
///
/// Several batches may be stored at one time, also by several processes. Storing is idempotent by the envelope's id. When its task is
/// cancelled, ``store(_:)`` ends soon: either with everything stored, or by throwing.
public protocol Sink: Sendable {
  /// Stores a batch. When this returns, what it calls stored outlives a crash of the machine.
  /// - Returns: One outcome for each delivery, in their order.
  /// - Throws: Where nothing may be taken for stored. (All of it may be, for all that is known.)
  func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome]

  /// As ``store(_:)``, and says meanwhile whose payloads it still waits for, as far as it knows.
  func store(_ deliveries: [Delivery], saying progress: SinkProgress) async throws(SinkFailure) -> [SinkOutcome]

  /// Ends it, after the last batch.
  func close() async throws(SinkFailure)

  /// What it is called in reports: no secrets.
  var name: String { get }

  /// After so long without outcomes it is worth storing other payloads beside a batch; nil where they would only wait behind it.
  var patience: Duration? { get }
}

extension Sink {
  public var patience: Duration? { nil }

  public func store(
    _ deliveries: [Delivery], saying progress: SinkProgress
  ) async throws(SinkFailure) -> [SinkOutcome] { try await store(deliveries) }
}

/// Whose payloads of a batch a sink still waits for.
public final class SinkProgress: Sendable {
  private let state = Mutex<Set<String>>([])

  public init() {}

  /// Accounts; empty where that isn't known.
  public var accounts: Set<String> {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}
