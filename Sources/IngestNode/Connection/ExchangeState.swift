// The state of one request, and the action that follows from each event. Pure: it knows no socket, no clock, no budget
// and no key store, so that tests can go through all orders of events. ``PushConnection`` carries out the actions.
//
// | state | what is awaited |
// |---|---|
// | undecided | the key, if it is in the body; then whether it is active |
// | receiving | the rest of the body; the key is active, or the request needs none |
// | counting | the number of events of a batch |
// | enqueuing | the outcome of the enqueue |
// | rejecting | the end of a body of unknown length, which is discarded |
// | answered | nothing |
//
// A rejected request is answered at once, even if its body hasn't arrived. But if the body's length is unknown, that
// would have to end the connection, and many clients send only chunked bodies. So those are answered at the body's end,
// unless more bytes arrive than are worth discarding.

internal import IngestQueue

struct ExchangeState {
  private enum State {
    case undecided
    case receiving
    case counting
    case enqueuing
    case rejecting(PushRejection, discarded: Int)
    case answered
  }

  /// The next action.
  enum Action {
    case none
    /// The body is wanted: check whether the budget allows it.
    case welcomeBody
    /// Release the part of the body that has arrived, and discard the rest.
    case discardBody
    /// The body is complete, and the key isn't known to be active: it must be in the body.
    case findKey
    case countEvents
    case enqueue
    case answer(Answer)
  }

  enum Answer {
    case accepted(EnvelopeID)
    case active
    case preflight
    case rejected(PushRejection)
  }

  /// What to do with a part of the body.
  enum BodyUse {
    case keep
    case discard
    case answer(PushRejection)
  }

  let purpose: Route.Purpose
  private var state = State.undecided

  init(_ purpose: Route.Purpose) { self.purpose = purpose }

  /// Whether the key's verdict is still needed.
  var isUndecided: Bool { if case .undecided = state { purpose != .preflight } else { false } }

  /// Whether the body is kept. A request that only asks about its key has its body discarded.
  var keepsBody: Bool { purpose == .push || purpose == .batch }

  /// The reason for the rejection, until it is answered.
  var rejection: PushRejection? { if case .rejecting(let why, _) = state { why } else { nil } }

  /// The key is active.
  /// - Parameter isWhole: Whether the whole body has arrived.
  mutating func admitted(isWhole: Bool) -> Action {
    guard case .undecided = state else { return .none }
    state = .receiving
    if isWhole { return ended() }
    return keepsBody ? .welcomeBody : .none
  }

  /// A part of the body has arrived.
  /// - Parameter limit: Maximum bytes to discard before the request is answered.
  mutating func received(_ bytes: Int, discardingAtMost limit: Int) -> BodyUse {
    switch state {
    case .undecided, .receiving: return keepsBody ? .keep : .discard
    case .rejecting(let why, let before):
      guard before + bytes > limit else {
        state = .rejecting(why, discarded: before + bytes)
        return .discard
      }
      state = .answered
      return .answer(why)
    case .counting, .enqueuing, .answered: return .discard
    }
  }

  /// The request is complete.
  mutating func ended() -> Action {
    switch state {
    case .undecided:
      guard purpose == .preflight else { return .findKey }
      state = .answered
      return .answer(.preflight)
    case .receiving:
      switch purpose {
      case .push:
        state = .enqueuing
        return .enqueue
      case .batch:
        state = .counting
        return .countEvents
      case .probe:
        state = .answered
        return .answer(.active)
      case .preflight:
        state = .answered
        return .answer(.preflight)
      }
    case .rejecting(let why, _):
      state = .answered
      return .answer(.rejected(why))
    case .counting, .enqueuing, .answered: return .none
    }
  }

  /// A batch's events are counted, and bytes are reserved for the answer to them.
  mutating func counted() -> Action {
    guard case .counting = state else { return .none }
    state = .enqueuing
    return .enqueue
  }

  /// The outcome of the enqueue is known.
  mutating func enqueued(_ outcome: PushOutcome) -> Action {
    guard case .enqueuing = state else { return .none }
    state = .answered
    switch outcome {
    case .success(let id): return .answer(.accepted(id))
    case .failure(let why): return .answer(.rejected(why))
    }
  }

  /// The request is rejected.
  /// - Parameter receivesChunks: Whether a body of unknown length is being received.
  mutating func reject(_ why: PushRejection, receivesChunks: Bool) -> Action {
    switch state {
    case .answered, .rejecting: return .none
    case .undecided, .receiving, .counting, .enqueuing:
      state = receivesChunks ? .rejecting(why, discarded: 0) : .answered
      return receivesChunks ? .discardBody : .answer(.rejected(why))
    }
  }
}
