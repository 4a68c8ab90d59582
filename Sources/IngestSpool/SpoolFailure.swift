// Why a payload isn't in the spool, and after which errors of a push a payload goes into the spool.

internal import Hiredis
public import IngestQueue

/// Why the spool didn't accept a payload.
public enum SpoolFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// The spool has no room for the payload: its maximum of bytes would be exceeded.
  case full(bytes: Int)
  /// The rest of the room is reserved for accounts with less than an eighth of the spool. This account would have
  /// more.
  case accountFull
  /// The oldest payload is older than the limit. An operator should act before more are accepted.
  case tooOld(limit: Duration)
  /// Too many payloads wait for the disk.
  case busy
  /// The disk is full.
  case noRoom(String)
  /// The file's content was damaged. Nothing more is accepted or drained before an operator has looked at it.
  case damaged(String)
  /// The disk or SQLite failed for another reason.
  case failed(String)
  /// The disk didn't answer in time: it is unknown whether the payload is in the spool.
  case late
  case closed

  public var description: String {
    switch self {
    case .full(let bytes): "the spool is full (--spool-bytes \(bytes))"
    case .accountFull: "the spool is nearly full, and this account has used its share"
    case .tooOld(let limit): "the oldest payload has been in the spool for more than \(limit.components.seconds) s"
    case .busy: "too many payloads wait for the spool's disk"
    case .noRoom(let words): "the spool's disk is full: \(words)"
    case .damaged(let words): "the spool is damaged: \(words)"
    case .failed(let words): "the spool can't be written or read: \(words)"
    case .late: "the spool's disk didn't answer in time"
    case .closed: "the spool is closed"
    }
  }
}

/// The spool can't be used at all: the node doesn't start.
public struct UnusableSpool: Error, Sendable, CustomStringConvertible {
  public let description: String
  /// Whether another process uses it.
  public let isInUse: Bool

  init(_ description: String, isInUse: Bool = false) {
    self.description = description
    self.isInUse = isInUse
  }
}

extension EnqueueError {
  /// Whether a payload with this error belongs in the spool: Redis can't be reached, or accepts no writes at all.
  ///
  /// After an unknown outcome the payload may be in the queue as well. It has one ID, so the sink stores it once.
  /// Backpressure (a full queue or a full Redis) isn't a reason for the spool. Nor is a Redis that is less durable than
  /// required: a spool would only delay the day on which an operator has to act.
  public var isForSpool: Bool {
    switch self {
    case .away, .unknownOutcome: true
    case .refused(let error): error.isPassing && error.code != "OOM"
    case .full, .overLimit, .accountOverLimit, .accountSlowsRedis, .tooManyRetries, .tooManyDeadLetters,
      .durabilityLost, .unconfirmed, .tooLarge, .shuttingDown:
      false
    }
  }
}
