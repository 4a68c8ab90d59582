// What can become of a payload, and what a caller is told of it. Each payload that was taken ends in exactly one
// `Outcome`; each that wasn't taken has a `Rejection`. There is no third way, so nothing is dropped in silence.
//
// Reasons are structs with a code, not enums: a reason that is added later must break nobody's `switch`. Rejected: enums
// with `@unknown default`, which packages can't ask for.

extension IngestClient {
  /// What the server said to one request.
  public struct Answer: Sendable, Hashable, CustomStringConvertible {
    /// The HTTP status.
    public var status: Int
    /// The body, at most its first 4 KiB. Empty where it couldn't be read: the status alone decides.
    public var words: String

    /// An answer, for tests.
    public init(status: Int, words: String) {
      self.status = status
      self.words = words
    }

    /// The status, and the first 200 characters of the body.
    public var description: String { words.isEmpty ? "\(status)" : "\(status) \(words.prefix(200))" }
  }

  /// Why one attempt didn't deliver.
  public struct Failure: Sendable, Hashable, CustomStringConvertible {
    /// What kind of failure it is. More may come.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
      /// The code's name, in snake case.
      public let description: String

      /// The server answered with something that may change: 429, 5xx, or a status that isn't Sluice's.
      public static let answered = Code(description: "answered")
      /// The server answered with 401 or 403.
      public static let refused = Code(description: "refused")
      /// No answer came in time. The server may have the payload.
      public static let timedOut = Code(description: "timed_out")
      /// There was no connection, or it ended before the answer. The server may have the payload.
      public static let disconnected = Code(description: "disconnected")
    }

    /// What kind of failure it is.
    public let code: Code
    /// The server's answer, if it gave one.
    public let answer: Answer?
    /// Where there was no connection: why, in words.
    let detail: String?

    private init(_ code: Code, _ answer: Answer? = nil, _ detail: String? = nil) {
      (self.code, self.answer, self.detail) = (code, answer, detail)
    }

    static func answered(_ answer: Answer) -> Failure { Failure(.answered, answer) }
    static func refused(_ answer: Answer) -> Failure { Failure(.refused, answer) }
    static let timedOut = Failure(.timedOut)
    static func disconnected(_ why: String) -> Failure { Failure(.disconnected, nil, why) }

    /// In words.
    public var description: String {
      if let answer { return "answered \(answer)" }
      if let detail { return "no connection: \(detail)" }
      return "no answer in time"
    }
  }

  /// What became of a payload. There is nothing else that could.
  public enum Outcome: Sendable {
    /// The gate has it.
    case delivered(Delivery)
    /// It isn't known to be delivered, and comes back.
    case undelivered(Undelivered)
  }

  /// A payload that the gate has.
  public struct Delivery: Sendable {
    /// The payload's.
    public var idempotencyKey: String
    /// A 2xx. A Sluice node's words are `{"id":"…"}`.
    public var answer: Answer
    /// How often it was sent, at least 1.
    public var attempts: Int
  }

  /// A payload that isn't known to be delivered, given back.
  ///
  /// Where an attempt ended without an answer the gate may have it all the same. Pushing the same ``payload`` again is safe:
  /// its idempotency key keeps it from becoming a second row.
  public struct Undelivered: Error, Sendable, CustomStringConvertible {
    /// Why the payload came back.
    public struct Reason: Sendable, Hashable, CustomStringConvertible {
      /// What kind of reason it is. More may come.
      public struct Code: Sendable, Hashable, CustomStringConvertible {
        /// The code's name, in snake case: the label `outcome` of `sluice_client_payloads_total`.
        public let description: String

        /// The gate looked at it and can't take it: 400, 413, 415 or 422. It won't help to push it again.
        public static let undeliverable = Code(description: "undeliverable")
        /// It couldn't be delivered within ``Configuration/payloadLifetime``.
        public static let expired = Code(description: "expired")
        /// It was in the buffer when the client disengaged.
        public static let disengaged = Code(description: "disengaged")
        /// The client ended before it was delivered.
        public static let ended = Code(description: "ended")
      }

      /// What kind of reason it is.
      public let code: Code
      /// The answer that decided it: of an undeliverable payload, or the refusal after which the client disengaged.
      public let answer: Answer?

      private init(_ code: Code, _ answer: Answer? = nil) { (self.code, self.answer) = (code, answer) }

      static func undeliverable(_ answer: Answer) -> Reason { Reason(.undeliverable, answer) }
      static let expired = Reason(.expired)
      static func disengaged(_ answer: Answer) -> Reason { Reason(.disengaged, answer) }
      static let ended = Reason(.ended)

      /// In words.
      public var description: String {
        let said = answer.map { ": \($0)" } ?? ""
        return switch code {
        case .undeliverable: "the gate can't take it\(said)"
        case .expired: "it is too old"
        case .disengaged: "the client disengaged\(said)"
        default: "the client ended"
        }
      }
    }

    /// As it was submitted, with the same idempotency key.
    public var payload: Payload
    /// Why it came back.
    public var reason: Reason
    /// How often it was sent; may be 0.
    public var attempts: Int
    /// Why the last attempt failed; nil if there was none.
    public var lastFailure: Failure?

    /// In words, without the payload's contents.
    public var description: String {
      let last = lastFailure.map { "; the last of \(attempts) attempts: \($0)" } ?? ""
      return "payload \(payload.idempotencyKey) isn't delivered: \(reason)\(last)"
    }
  }

  /// Why a payload wasn't taken into the buffer. The caller still has it.
  public struct Rejection: Error, Sendable, Hashable, CustomStringConvertible {
    /// What kind of rejection it is. More may come.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
      /// The code's name, in snake case: the label `reason` of `sluice_client_rejections_total`.
      public let description: String

      /// As many payloads or bytes are waiting as may. The same payload may be taken later.
      public static let bufferFull = Code(description: "buffer_full")
      /// Alone it is larger than the whole buffer.
      public static let tooLarge = Code(description: "too_large")
      /// A header of it can't be sent.
      public static let malformed = Code(description: "malformed")
      /// The key has been refused for longer than the client's patience.
      public static let disengaged = Code(description: "disengaged")
      /// The client is draining or has ended.
      public static let ending = Code(description: "ending")
    }

    /// What kind of rejection it is.
    public let code: Code
    /// Where the client is disengaged: the last refusal.
    public let answer: Answer?
    /// In words.
    public let description: String

    private init(_ code: Code, _ description: String, _ answer: Answer? = nil) {
      (self.code, self.description, self.answer) = (code, description, answer)
    }

    static let bufferFull = Rejection(.bufferFull, "the buffer is full")
    static func tooLarge(limit: Int) -> Rejection {
      Rejection(.tooLarge, "the payload is larger than the buffer's \(limit) bytes")
    }
    static func malformed(_ flaw: String) -> Rejection { Rejection(.malformed, flaw) }
    static func disengaged(_ answer: Answer) -> Rejection {
      Rejection(.disengaged, "the client is disengaged: \(answer)", answer)
    }
    static let ending = Rejection(.ending, "the client is draining or has ended: it takes no more payloads")
  }

  /// Whether the client believes that its key is good.
  public struct State: Sendable, Hashable, CustomStringConvertible {
    /// What kind of state it is. More may come.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
      /// The code's name.
      public let description: String

      /// Payloads are sent.
      public static let engaged = Code(description: "engaged")
      /// The key was refused. Payloads are taken into the buffer and kept; one of them asks again.
      public static let paused = Code(description: "paused")
      /// Every answer for the whole ``Configuration/Refusals/patience`` was a refusal. The buffer was given back, new
      /// payloads aren't taken, and the one that was refused asks again, rarely.
      public static let disengaged = Code(description: "disengaged")
    }

    /// What kind of state it is.
    public let code: Code
    /// The last refusal; nil while the client is engaged.
    public let answer: Answer?

    private init(_ code: Code, _ answer: Answer? = nil) { (self.code, self.answer) = (code, answer) }

    static let engaged = State(.engaged)
    static func paused(_ answer: Answer) -> State { State(.paused, answer) }
    static func disengaged(_ answer: Answer) -> State { State(.disengaged, answer) }

    /// In words.
    public var description: String { answer.map { "\(code) by \($0)" } ?? "\(code)" }
  }

  /// What a drain came to.
  public struct DrainReport: Sendable {
    /// How many were delivered since draining began.
    public var delivered: Int
    /// Everything that was in the buffer when draining began, or came back since, and isn't known to be delivered.
    public var undelivered: [Undelivered]
  }
}
