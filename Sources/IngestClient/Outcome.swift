// The possible outcomes of a payload, and their reports to callers. Each accepted payload ends in exactly one
// `Outcome`; each payload that wasn't accepted gets a `Rejection`. There is no third case, so nothing is dropped
// silently.
//
// Reasons are structs with a code, and not enums: a reason that a later version adds breaks no caller's `switch`.

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

  /// Why one attempt didn't deliver.
  public struct Failure: Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure. Later versions may have more.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
      public let description: String

      /// The server answered with a status that may change: 429, 5xx, or one that isn't Sluice's.
      public static let answered = Code(description: "answered")
      /// The server answered 401 or 403.
      public static let refused = Code(description: "refused")
      /// No answer arrived in time. The server may have the payload.
      public static let timedOut = Code(description: "timed_out")
      /// There was no connection, or it ended before the answer. The server may have the payload.
      public static let disconnected = Code(description: "disconnected")
    }

    public let code: Code
    /// The server's answer, for ``Code/answered`` and ``Code/refused``.
    public let answer: Answer?
    /// Text for a log.
    public let description: String

    static func answered(_ answer: Answer) -> Failure {
      Failure(code: .answered, answer: answer, description: "answered \(answer)")
    }

    static func refused(_ answer: Answer) -> Failure {
      Failure(code: .refused, answer: answer, description: "answered \(answer)")
    }

    static let timedOut = Failure(code: .timedOut, answer: nil, description: "no answer in time")

    static func disconnected(_ why: String) -> Failure {
      Failure(code: .disconnected, answer: nil, description: "no connection: \(why)")
    }
  }

  /// The outcome of a payload.
  public enum Outcome: Sendable {
    /// The gate has accepted the payload.
    case delivered(Delivery)
    /// The gate isn't known to have the payload, and the client has returned it.
    case undelivered(Undelivered)
  }

  /// A payload that the gate has accepted.
  public struct Delivery: Sendable {
    /// The payload's idempotency key, see ``Payload/idempotencyKey``.
    public var idempotencyKey: String
    /// The server's answer, with a 2xx status. A Sluice node's body is `{"id":"…"}`.
    public var answer: Answer
    /// The number of attempts, at least 1.
    public var attempts: Int
  }

  /// A payload that isn't known to be delivered, and is returned.
  ///
  /// If an attempt ended without an answer, the gate may have the payload nevertheless. Pushing the same ``payload``
  /// again is safe: its idempotency key keeps it from becoming a second row.
  public struct Undelivered: Error, CustomStringConvertible {
    /// Why the payload was returned.
    public struct Reason: Sendable, Equatable, CustomStringConvertible {
      /// The kind of reason. Later versions may have more.
      public struct Code: Sendable, Hashable, CustomStringConvertible {
        public let description: String

        /// The gate examined the payload and can't accept it: 400, 413, 415 or 422. Pushing it again won't help.
        public static let undeliverable = Code(description: "undeliverable")
        /// The payload couldn't be delivered within ``Configuration/payloadLifetime``.
        public static let expired = Code(description: "expired")
        /// The payload was in the buffer when the client disengaged.
        public static let disengaged = Code(description: "disengaged")
        /// The client ended before the payload was delivered.
        public static let ended = Code(description: "ended")
      }

      public let code: Code
      /// The server's answer, for ``Code/undeliverable`` and ``Code/disengaged``.
      public let answer: Answer?
      /// Text for a log.
      public let description: String

      static func undeliverable(_ answer: Answer) -> Reason {
        Reason(code: .undeliverable, answer: answer, description: "the node rejected it: \(answer)")
      }

      static let expired = Reason(code: .expired, answer: nil, description: "it is too old")

      static func disengaged(_ answer: Answer) -> Reason {
        Reason(code: .disengaged, answer: answer, description: "the client disengaged: \(answer)")
      }

      static let ended = Reason(code: .ended, answer: nil, description: "the client ended")
    }

    /// The payload itself. It can be pushed again unchanged.
    public var payload: Payload
    /// Why the payload was returned.
    public var reason: Reason
    /// The number of attempts; may be 0.
    public var attempts: Int
    /// Why the last attempt failed; nil if there was none.
    public var lastFailure: Failure?

    public var description: String {
      let last = lastFailure.map { "; the last of \(attempts) attempts: \($0)" } ?? ""
      return "payload \(payload.idempotencyKey) isn't delivered: \(reason)\(last)"
    }
  }

  /// Why a payload wasn't accepted into the buffer. The caller still has it.
  public struct Rejection: Error, Equatable, CustomStringConvertible {
    /// The kind of reason. Later versions may have more.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
      /// The short name, which is also a label of the metrics.
      public let description: String

      /// The buffer already has the maximum of payloads or bytes.
      public static let bufferFull = Code(description: "buffer_full")
      /// The payload is larger than the whole buffer.
      public static let tooLarge = Code(description: "too_large")
      /// One of the payload's headers can't be sent.
      public static let malformed = Code(description: "malformed")
      /// The key has been refused for longer than the client's patience.
      public static let disengaged = Code(description: "disengaged")
      /// The client is draining or has ended.
      public static let ending = Code(description: "ending")
    }

    public let code: Code
    /// The last refusal, for ``Code/disengaged``.
    public let answer: Answer?
    /// Text for a log.
    public let description: String

    static let bufferFull = Rejection(code: .bufferFull, answer: nil, description: "the buffer is full")

    /// - Parameter limit: The buffer's limit in bytes.
    static func tooLarge(limit: Int) -> Rejection {
      Rejection(
        code: .tooLarge, answer: nil, description: "the payload is larger than the buffer's \(limit) bytes")
    }

    static func malformed(_ flaw: String) -> Rejection { Rejection(code: .malformed, answer: nil, description: flaw) }

    static func disengaged(_ answer: Answer) -> Rejection {
      Rejection(code: .disengaged, answer: answer, description: "the client is disengaged: \(answer)")
    }

    static let ending = Rejection(
      code: .ending, answer: nil, description: "the client is draining or has ended: it takes no more payloads")
  }

  /// Whether the client considers its key active.
  public enum State: Sendable, Equatable, CustomStringConvertible {
    /// Payloads are sent.
    case engaged
    /// The key was refused with this answer. Payloads are accepted into the buffer and kept; one of them is retried.
    case paused(Answer)
    /// Every answer for the whole ``Configuration/Refusals/patience`` was a refusal; this was the last one. The buffer
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
    /// The number of payloads delivered since the drain began.
    public var delivered: Int
    /// All payloads that were in the buffer when the drain began, or were returned since, and aren't known to be
    /// delivered.
    public var undelivered: [Undelivered]
  }
}
