// Why a payload isn't in the spool, and which payloads are for it at all.

internal import Hiredis
public import IngestQueue

/// Why the spool didn't take a payload.
public enum SpoolFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// With it there would be more bytes in the spool than it may hold.
  case full(bytes: Int)
  /// What is left of the room is kept for accounts that have less in the spool than this one.
  case accountFull
  /// The oldest payload waits for longer than it may: somebody should know before there are more.
  case tooOld(limit: Duration)
  /// So many payloads wait for the disk already that it can't be keeping up.
  case busy
  /// The disk is full.
  case noRoom(String)
  /// The file isn't what was written into it. Nothing more is taken or drained before somebody has looked.
  case damaged(String)
  /// The disk, or SQLite, said no for another reason.
  case failed(String)
  /// The disk didn't answer in time: the payload is in the spool or not.
  case late
  case closed

  public var description: String {
    switch self {
    case .full(let bytes): "the spool is full: it may hold \(bytes) bytes"
    case .accountFull: "the spool is nearly full, and the account has much in it"
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
  /// Whether a payload that met this is for the spool: Redis can't be reached, or can't be written to whatever is written.
  ///
  /// Of an unknown outcome the payload may be in the queue as well; it has one id, and the sink stores it once. Not for the spool is what is
  /// backpressure, a full queue or a full Redis, and a Redis that is there and promises too little: a disk behind it would only put off the
  /// day on which somebody has to act.
  public var isForSpool: Bool {
    switch self {
    case .away, .unknownOutcome: true
    case .refused(let error): error.isPassing && error.code != "OOM"
    case .full, .overLimit, .accountOverLimit, .accountSlowsRedis, .tooManyDeadLetters, .durabilityLost, .unconfirmed,
      .tooLarge, .shuttingDown:
      false
    }
  }
}
