// Where payloads end. The queue delivers at least once, so a sink must know an envelope again by its id; that is all that makes
// "at least once" into "once".

public import IngestQueue

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
  /// This one can't be stored; the others of its batch are not concerned.
  case failed(reason: String, retryable: Bool)
}

/// Nothing of a batch may be taken for stored: the sink is away, locked or full. The same batch may succeed later.
public struct SinkFailure: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
  /// How long the sink asks to be left alone; nil where it doesn't say.
  public let retryAfter: Duration?

  public init(_ description: String, retryAfter: Duration? = nil) {
    self.description = description
    self.retryAfter = retryAfter
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

  /// Ends it, after the last batch.
  func close() async throws(SinkFailure)

  /// What it is called in reports: no secrets.
  var name: String { get }
}
