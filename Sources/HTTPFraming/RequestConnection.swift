// One client's connection as a state machine. The caller passes it the unread bytes and the application's answers, and
// it returns the next action. It does no I/O, reads no clock and keeps no bytes.
//
// Guarantee: every request gets exactly one response, in order, or the connection ends. A second answer to a request,
// or an answer to a request that was refused meanwhile, is rejected here (`answer` returns nil), because one response
// too many shifts all later ones to the wrong requests.
//
// Requests are passed on one at a time. Requests that a client sends ahead stay unparsed in the caller's buffer until
// the answer is given. Rejected: a window of several requests. It would need a queue of answers that arrive in any
// order, with refusals and closings in between, and servers make their mistakes there. A client that pipelines saves
// the round trip either way.
//
// The rest of an unwanted body is read to its end only if its length is known and small. Otherwise the answer says
// `Connection: close`. A chunked body has no known length, and an answer that promised to keep the connection couldn't
// be taken back.

/// The length of a request's body.
public enum BodyKind: Sendable, Equatable {
  /// There is no body.
  case none
  /// This number of bytes, possibly 0.
  case length(Int)
  case chunked
}

/// Identifies one of a connection's requests. The application answers with this number, so that a late answer isn't
/// used for another request.
public struct RequestNumber: Sendable, Hashable, CustomStringConvertible {
  /// Counted from 1.
  public let value: Int
  public var description: String { "\(value)" }
}

/// The state of a connection, for deadlines and counters.
public enum ConnectionPhase: Sendable, Equatable, CaseIterable {
  /// Between requests.
  case idle
  /// A part of a head has arrived.
  case head
  /// A head was returned, and its body hasn't ended.
  case body
  /// The request is complete and waits for its answer: this delay is the server's own.
  case answering
  /// Answered; the rest of the body is read and discarded.
  case draining
  /// The last answer was given; further bytes are discarded until the client closes too.
  case closing
  case closed
}

/// The next action, and the number of bytes that belong to it. "Go on" means: consume these bytes and call
/// ``RequestConnection/next(_:)`` again.
public struct Step: Sendable, Equatable {
  public enum Action: Sendable, Equatable {
    /// There is nothing to do with these bytes. Go on.
    case skip
    /// Wait for more bytes than the given ones.
    case read
    /// The bytes are a head; ``RequestConnection/head`` has the offsets of its parts. Going on means that the body is
    /// wanted.
    case head(RequestNumber, BodyKind)
    /// Write ``Response/goOn``: the client waits for it before it sends the body. Go on.
    case writeContinue
    /// The bytes are the next part of the body. Go on.
    case body
    /// The request is complete. Go on.
    case end
    /// Write nothing until the request is answered, and read no more than the caller wants to buffer.
    case wait
    /// Write this as the answer to the current request, whether its head was returned or not. The application's own
    /// answer will be rejected. Go on.
    case refuse(ProtocolError, ResponseFraming)
    /// When everything is written, end the sending side and go on.
    case closeOutput
    /// Close the connection now.
    case close
  }

  public let action: Action
  /// How many of the given bytes belong to the action. They are consumed: the next call begins after them.
  public let length: Int

  init(_ action: Action, _ length: Int = 0) {
    self.action = action
    self.length = length
  }
}

/// The state machine of one connection: every request gets exactly one response, in order, or the connection ends.
///
/// The caller keeps the bytes that were not consumed. It runs this loop whenever bytes arrive, the input ends, or a
/// request is answered:
///
/// ```swift
/// while true {
///   let step = connection.next(input.readableBytesSpan)
///   switch step.action {
///   case .skip: break
///   case .read: return  // and read
///   case .head(let number, let body): …  // look fields up now: the bytes are consumed behind this step
///   case .writeContinue: write(Response.goOn)
///   case .body: …  // the first `step.length` bytes
///   case .end: …  // ask the application, which calls `answer(number)`, writes one response and goes round again
///   case .wait: return  // and don't read on
///   case .refuse(let refusal, let framing): write(Response(refusal), framing)
///   case .closeOutput: …  // when all is written
///   case .close: …
///     return
///   }
///   input.moveReaderIndex(forwardBy: step.length)
/// }
/// ```
public struct RequestConnection: ~Copyable, Sendable {
  private enum State {
    case head
    /// The head was returned. The client waits for "100 Continue", and the body isn't wanted before the next step.
    case invited(BodyKind)
    case length(left: Int)
    case chunked
    /// The body is complete, but ``Step/Action/end`` hasn't been returned yet.
    case ending
    case answering
    case draining(left: Int)
    case closing(outputClosed: Bool, allowance: Int)
    case closed
  }

  public let limits: RequestLimits
  /// The offsets of the parts of the last returned head. Valid until the first call of ``next(_:)`` after the request
  /// was answered.
  public private(set) var head = RequestHead()
  private var state = State.head
  private var parser = HeadParser()
  private var chunks = ChunkedBody()
  /// Requests begun, including the current one from its first byte on.
  private var number = 0
  /// Whether the client would use the connection again after this request.
  private var isPersistent = false
  private var ended = false
  private var stopping = false

  public init(limits: RequestLimits = RequestLimits()) {
    self.limits = limits
  }

  public var phase: ConnectionPhase {
    switch state {
    case .head: parser.hasBegun ? .head : .idle
    case .invited, .length, .chunked: .body
    case .ending, .answering: .answering
    case .draining: .draining
    case .closing: .closing
    case .closed: .closed
    }
  }

  /// The same as ``phase``, for the hot path. It changes nothing. It is mutating so that it accesses the connection in
  /// place and not a copy.
  package mutating func phaseInPlace() -> ConnectionPhase { phase }

  // The next three change nothing. They are mutating for the reason that `phaseInPlace` is.

  /// The length of the current request's body, by its head.
  public var body: BodyKind { mutating get { parser.framing.body } }

  /// Whether the whole current request has been returned, including its ``Step/Action/end``.
  public var isWhole: Bool { mutating get { if case .answering = state { true } else { false } } }

  /// Whether a body of unknown length is being received. An answer before its end would end the connection.
  public var isReceivingChunks: Bool { mutating get { if case .chunked = state { true } else { false } } }

  // MARK: Events

  /// Returns the next action. Call it again after every action but ``Step/Action/read``, ``Step/Action/wait`` and
  /// ``Step/Action/close``; after `read` when there are more bytes or the input ended, after `wait` when the request
  /// was answered.
  /// - Parameter bytes: All unconsumed bytes.
  public mutating func next(_ bytes: RawSpan) -> Step {
    switch state {
    case .head: return nextHead(bytes)
    case .invited(let body):
      expectBody(body)
      return Step(.writeContinue)
    case .length(let left):
      let count = min(left, bytes.byteCount)
      guard count > 0 else { return starved() }
      state = left == count ? .ending : .length(left: left - count)
      return Step(.body, count)
    case .chunked: return nextChunk(bytes)
    case .ending:
      state = .answering
      return Step(.end)
    case .answering: return Step(.wait)
    case .draining(let left):
      let count = min(left, bytes.byteCount)
      guard count > 0 else { return starved() }
      if left == count { expectHead() } else { state = .draining(left: left - count) }
      return Step(.skip, count)
    case .closing(outputClosed: false, let allowance):
      state = .closing(outputClosed: true, allowance: allowance)
      return Step(.closeOutput)
    case .closing(outputClosed: true, let allowance):
      let count = bytes.byteCount
      guard count > 0 else { return starved() }
      guard count <= allowance else { return close() }
      state = .closing(outputClosed: true, allowance: allowance - count)
      return Step(.skip, count)
    case .closed: return Step(.close)
    }
  }

  /// Records that a request is being answered, before or after the end of its body, and returns the framing of the
  /// response.
  ///
  /// Write exactly one response for it, at once, then go on with ``next(_:)``.
  /// - Returns: nil if nothing may be written: the request was answered or refused before, or the connection has ended.
  public mutating func answer(_ request: RequestNumber) -> ResponseFraming? {
    guard request.value == number else { return nil }
    let rest: Int?
    switch state {
    case .ending, .answering: rest = 0
    case .length(let left): rest = left <= limits.drainBytes ? left : nil
    // A client that waits for "100 Continue" and gets an answer may send the body nevertheless, or not: that can't be
    // distinguished.
    case .invited, .chunked: rest = nil
    case .head, .draining, .closing, .closed: return nil
    }
    guard let rest, isPersistent, !stopping, number < limits.requests else {
      let framing = framing(.close)
      beginClosing()
      return framing
    }
    let framing = framing(head.version == .http10 ? .keepAlive : .open)
    if rest == 0 { expectHead() } else { state = .draining(left: rest) }
    return framing
  }

  /// The client sends nothing more. Bytes that it has sent are still read and answered.
  public mutating func inputEnded() { ended = true }

  /// The server stops: no further request begins, and the answer to the current one closes the connection. Go on with
  /// ``next(_:)`` at once, because an idle connection closes then.
  public mutating func stop() { stopping = true }

  /// The deadline of the current phase has passed. Returns the next action, as ``next(_:)`` does.
  ///
  /// A request that arrives too slowly is answered with 408. In ``ConnectionPhase/answering`` the delay is the server's
  /// own, and nothing happens.
  public mutating func deadlinePassed() -> Step {
    switch phase {
    case .head, .body: refuse(.tooSlow)
    case .answering: Step(.wait)
    case .idle, .draining, .closing, .closed: close()
    }
  }

  // MARK: The request

  private mutating func nextHead(_ bytes: RawSpan) -> Step {
    if stopping, !parser.hasBegun {
      guard bytes.byteCount > 0 else { return close() }
      // Input that the client sent ahead is discarded first: closing with unread input would reset the connection, and
      // earlier answers could be lost.
      beginClosing()
      return next(bytes)
    }
    let hadBegun = parser.hasBegun
    let outcome = parser.parse(bytes, into: &head, within: limits)
    if parser.hasBegun, !hadBegun { number += 1 }
    switch outcome {
    case .incomplete: return starved()
    case .skip(let count): return Step(.skip, count)
    case .refused(let refusal): return refuse(refusal)
    case .complete(let length):
      let body = parser.framing.body
      if case .length(let announced) = body, announced > limits.bodyBytes { return refuse(.bodyTooLarge) }
      isPersistent = parser.framing.isPersistent(in: head.version)
      // RFC 9110 §10.1.1: HTTP/1.0 has no 100 Continue, and a client without a body doesn't wait for it.
      let isInvited = parser.framing.expectsContinue && head.version == .http11 && body != .none && body != .length(0)
      if isInvited { state = .invited(body) } else { expectBody(body) }
      return Step(.head(RequestNumber(value: number), body), length)
    }
  }

  private mutating func expectBody(_ body: BodyKind) {
    switch body {
    case .none, .length(0): state = .ending
    case .length(let length): state = .length(left: length)
    case .chunked:
      chunks = ChunkedBody()
      state = .chunked
    }
  }

  private mutating func nextChunk(_ bytes: RawSpan) -> Step {
    switch chunks.next(bytes, within: limits) {
    case .incomplete: return starved()
    case .skip(let count): return Step(.skip, count)
    case .data(let count): return Step(.body, count)
    case .end(let count):
      state = .ending
      return Step(.skip, count)
    case .refused(let refusal): return refuse(refusal)
    }
  }

  private mutating func expectHead() {
    state = .head
    parser = HeadParser()
  }

  // MARK: Ends

  /// More bytes are needed, and may never arrive.
  private mutating func starved() -> Step { ended ? close() : Step(.read) }

  private mutating func refuse(_ refusal: ProtocolError) -> Step {
    let framing = framing(.close)
    beginClosing()
    return Step(.refuse(refusal, framing))
  }

  private mutating func beginClosing() { state = .closing(outputClosed: false, allowance: limits.lingerBytes) }

  private mutating func close() -> Step {
    state = .closed
    return Step(.close)
  }

  private func framing(_ persistence: ResponseFraming.Persistence) -> ResponseFraming {
    // Before its method is read, `head` may still be the previous request's.
    ResponseFraming(persistence: persistence, isForHead: parser.knowsMethod && head.method == .head)
  }
}
