// All bounds of the spool, with what they are by default.

public import NIOCore

/// What the spool takes, and how it gives it back.
public struct SpoolLimits: Sendable, Equatable {
  /// Bytes of payloads, with the line before each, that may be in it. The file is a little larger, and doesn't become
  /// smaller again: what was drained leaves room in it.
  public var bytes = 1 << 30
  /// How old the oldest payload may be for another to be taken. It isn't dropped: a spool that nobody has drained for
  /// so long is somebody's work.
  public var age = Duration.seconds(86_400)
  /// Maximum payloads drained per second. The drain is slower where Redis is: it leaves Redis at least half of the time
  /// to others.
  public var drainedPerSecond = 20_000
  /// Payloads that may wait for the disk.
  public var waitingEntries = 10_000
  /// Their bytes; one by itself may be larger.
  public var waitingBytes = 64 << 20
  /// How long a payload may wait for the disk.
  public var deadline = TimeAmount.seconds(2)
  /// How long the end may wait for the disk.
  public var closeDeadline = TimeAmount.seconds(10)
  /// Payloads of one transaction.
  public var entriesPerCommit = 512
  /// Their bytes, and those of what is drained at once; one payload by itself may be larger.
  public var bytesPerCommit = 4 << 20
  /// Payloads that are drained at once.
  public var entriesPerDrain = 1_024
  /// Payloads whose accounts are known in memory, the oldest first: among these, accounts take turns. 16 bytes each.
  /// With the default bytes it is every payload, however small they are.
  public var entriesInTurns = 4 << 20

  public init() {}
}
