// All limits of the spool, with their defaults.

public import NIOCore

/// The limits of filling and draining the spool.
public struct SpoolLimits: Sendable, Equatable {
  /// Maximum bytes of payloads, including the line before each. The file is a little larger, and doesn't shrink: its
  /// free pages are used again.
  public var bytes = 1 << 30
  /// Maximum age of the oldest payload for another to be accepted. The oldest isn't dropped: if a spool wasn't drained
  /// for this time, an operator has to act.
  public var age = Duration.seconds(86_400)
  /// Maximum payloads drained per second. The drain also slows down with Redis: it leaves at least half of Redis's time
  /// to other clients.
  public var drainedPerSecond = 20_000
  /// Maximum payloads that wait for the disk.
  public var waitingEntries = 10_000
  /// Maximum bytes of payloads that wait for the disk; a single payload may be larger.
  public var waitingBytes = 64 << 20
  /// Maximum time that a payload waits for the disk.
  public var deadline = TimeAmount.seconds(2)
  /// Maximum time that the shutdown waits for the disk.
  public var closeDeadline = TimeAmount.seconds(10)
  /// Maximum payloads of one transaction.
  public var entriesPerCommit = 512
  /// Maximum bytes in one transaction, and of one drain step; a single payload may be larger.
  public var bytesPerCommit = 4 << 20
  /// Maximum payloads in one drain step.
  public var entriesPerDrain = 1_024
  /// Maximum payloads whose accounts are in memory, the oldest first, 16 bytes each. Accounts take turns among these.
  /// With the default maximum of bytes it is every payload, however small they are.
  public var entriesInTurns = 4 << 20

  public init() {}
}
