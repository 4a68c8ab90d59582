// What a spool says of itself, for the node's report.

/// What is in a spool, and what it has done since it was opened.
public struct SpoolFigures: Sendable, Equatable {
  /// Payloads that wait to be pushed.
  public var entries: Int
  public var bytes: Int
  /// How long the oldest has been there; nil if there is none.
  public var oldestSeconds: Double?
  /// Why the last payload wasn't taken; nil while they are.
  public var objection: SpoolFailure?
  /// Payloads that the queue can't take, and that wait for somebody. Their bytes count against the limit too.
  public var setAside: Int
  public var setAsideBytes: Int
  public var taken: UInt64
  public var drained: UInt64
}
