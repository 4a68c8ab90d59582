// A spool's figures, for the node's report.

/// The content of a spool, and its counters since it was opened.
public struct SpoolFigures: Sendable, Equatable {
  /// Payloads that wait to be pushed.
  public var entries: Int
  public var bytes: Int
  /// The age of the oldest payload; nil if there is none.
  public var oldestSeconds: Double?
  /// Why the last payload wasn't accepted; nil while payloads are accepted.
  public var objection: SpoolFailure?
  /// Payloads that the queue can't accept. They wait for an operator, and their bytes count for the limit too.
  public var setAside: Int
  public var setAsideBytes: Int
  public var taken: UInt64
  public var drained: UInt64
}
