// The possible outcomes of a payload. Each accepted payload ends in exactly one `Outcome`; each other has a
// `Rejection`. There is no third case, so nothing is dropped silently.

extension IngestClient {
  /// The server's answer to one request.
  public struct Answer: Sendable, Equatable, CustomStringConvertible {
    /// The HTTP status.
    public var status: Int
    /// The body, at most its first 4 KiB. Empty if it couldn't be read: the status alone decides.
    public var words: String

    public init(status: Int, words: String) {
      self.status = status
      self.words = words
    }

    public var description: String { words.isEmpty ? "\(status)" : "\(status) \(words.prefix(200))" }
  }

  /// Why one attempt didn't deliver the payload.
  public enum Failure: Sendable, Equatable, CustomStringConvertible {
    /// With a status that may change: 429, 5xx, or one that isn't Sluice's.
    case answered(Answer)
    /// With 401 or 403.
    case refused(Answer)
    /// No answer arrived in time. The server may have the payload.
    case timedOut
    /// There was no connection, or it ended before the answer. The server may have the payload.
    case disconnected(String)

    public var description: String {
      switch self {
      case .answered(let answer), .refused(let answer): "answered \(answer)"
      case .timedOut: "no answer in time"
      case .disconnected(let why): "no connection: \(why)"
      }
    }
  }

  /// The outcome of a payload.
  public enum Outcome: Sendable {
    case delivered(Delivery)
    case undelivered(Undelivered)
  }

  /// A payload that the gate has.
  public struct Delivery: Sendable {
    public var idempotencyKey: String
    /// A 2xx. A Sluice node's body is `{"id":"…"}`.
    public var answer: Answer
    /// How often it was sent, at least 1.
    public var attempts: Int
  }

  /// A payload that isn't known to be delivered, and is returned.
  ///
  /// If an attempt ended without an answer the gate may have it nevertheless. Pushing the same ``payload`` again is
  /// safe: its idempotency key keeps it from becoming a second row.
  public struct Undelivered: Error, CustomStringConvertible {
    public enum Reason: Sendable, Equatable {
      /// The gate examined it and can't accept it: 400, 413, 415 or 422. Pushing it again won't help.
      case undeliverable(Answer)
      /// It couldn't be delivered within ``Configuration/payloadLifetime``.
      case expired
      /// It was in the buffer when the client disengaged, after this refusal.
      case disengaged(Answer)
      /// The client ended before it was delivered.
      case ended
    }

    public var payload: Payload
    public var reason: Reason
    /// How often it was sent; may be 0.
    public var attempts: Int
    /// Why the last attempt failed; nil if there was none.
    public var lastFailure: Failure?

    public var description: String {
      let why =
        switch reason {
        case .undeliverable(let answer): "the gate can't take it: \(answer)"
        case .expired: "it is too old"
        case .disengaged(let answer): "the client disengaged: \(answer)"
        case .ended: "the client ended"
        }
      let last = lastFailure.map { "; the last of \(attempts) attempts: \($0)" } ?? ""
      return "payload \(payload.idempotencyKey) isn't delivered: \(why)\(last)"
    }
  }

  /// Why a payload wasn't accepted into the buffer. The caller still has it.
  public enum Rejection: Error, Equatable, CustomStringConvertible {
    /// The buffer's maximum of payloads or bytes is reached.
    case bufferFull
    /// It is larger than the whole buffer, in bytes.
    case tooLarge(limit: Int)
    /// One of its headers can't be sent.
    case malformed(String)
    /// The key has been refused for longer than the client's patience, the last time with this answer.
    case disengaged(Answer)
    /// The client is draining or has ended.
    case ending

    public var description: String {
      switch self {
      case .bufferFull: "the buffer is full"
      case .tooLarge(let limit): "the payload is larger than the buffer's \(limit) bytes"
      case .malformed(let flaw): "\(flaw)"
      case .disengaged(let answer): "the client is disengaged: \(answer)"
      case .ending: "the client is draining or has ended: it takes no more payloads"
      }
    }

    /// The reason's short name: a label of the metrics.
    var code: String {
      switch self {
      case .bufferFull: "buffer_full"
      case .tooLarge: "too_large"
      case .malformed: "malformed"
      case .disengaged: "disengaged"
      case .ending: "ending"
      }
    }
  }

  /// Whether the client considers its key active.
  public enum State: Sendable, Equatable, CustomStringConvertible {
    /// Payloads are sent.
    case engaged
    /// The key was refused with this answer. Payloads are accepted into the buffer and kept; one of them is retried.
    case paused(Answer)
    /// Every answer for the whole ``Configuration/Refusals/patience`` was a refusal, this being the last. The buffer
    /// was returned, new payloads aren't accepted, and the refused payload is retried, rarely.
    case disengaged(Answer)

    public var description: String {
      switch self {
      case .engaged: "engaged"
      case .paused(let answer): "paused by \(answer)"
      case .disengaged(let answer): "disengaged by \(answer)"
      }
    }
  }

  /// The result of a drain.
  public struct DrainReport: Sendable {
    /// How many were delivered since draining began.
    public var delivered: Int
    /// All payloads that were in the buffer when draining began, or returned since, and aren't known to be delivered.
    public var undelivered: [Undelivered]
  }
}
