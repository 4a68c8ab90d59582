// What one request waits for, and what follows from each thing that happens to it. Pure: it knows no socket, no clock, no
// budget and no key store, so that tests go through all orders of events. ``PushConnection`` carries out what it says.
//
// | state | what is awaited |
// |---|---|
// | undecided | the key, where it is in the body; then whether it is active |
// | receiving | the rest of the body; the key is active, or the request needs none |
// | counting | how many events a batch has |
// | enqueuing | what becomes of the payload |
// | rejecting | the end of a body of unknown length, which is thrown away |
// | answered | nothing |
//
// A request that isn't taken is answered at once, whatever of its body is still to come. Only where the body's length
// isn't known that would have to end the connection, and many clients send nothing but chunks: so they are told at the
// body's end, unless more comes than is worth throwing away.

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

  /// What is to be done now.
  enum Action {
    case none
    /// The body is wanted: see whether there is room for it.
    case welcomeBody
    /// Let go of what came of the body, and throw away the rest.
    case discardBody
    /// The body is whole, and the key isn't known to be active: it must be in the body.
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

  /// Whether the key is still to be asked for.
  var isUndecided: Bool { if case .undecided = state { purpose != .preflight } else { false } }

  /// The body of a request that only asks is discarded.
  var keepsBody: Bool { purpose == .push || purpose == .batch }

  /// Why it isn't taken, while that isn't said yet.
  var rejection: PushRejection? { if case .rejecting(let why, _) = state { why } else { nil } }

  /// The key is active.
  /// - Parameter isWhole: Whether all of the body has come.
  mutating func admitted(isWhole: Bool) -> Action {
    guard case .undecided = state else { return .none }
    state = .receiving
    if isWhole { return ended() }
    return keepsBody ? .welcomeBody : .none
  }

  /// A part of the body has come.
  /// - Parameter limit: How many bytes may be thrown away at most before it is answered.
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

  /// The request is whole.
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

  /// A batch's events are counted, and the answer to them has found room.
  mutating func counted() -> Action {
    guard case .counting = state else { return .none }
    state = .enqueuing
    return .enqueue
  }

  /// It is known what became of the payload.
  mutating func enqueued(_ outcome: PushOutcome) -> Action {
    guard case .enqueuing = state else { return .none }
    state = .answered
    switch outcome {
    case .success(let id): return .answer(.accepted(id))
    case .failure(let why): return .answer(.rejected(why))
    }
  }

  /// It isn't taken.
  /// - Parameter receivesChunks: Whether a body is being received whose length isn't known.
  mutating func reject(_ why: PushRejection, receivesChunks: Bool) -> Action {
    switch state {
    case .answered, .rejecting: return .none
    case .undecided, .receiving, .counting, .enqueuing:
      state = receivesChunks ? .rejecting(why, discarded: 0) : .answered
      return receivesChunks ? .discardBody : .answer(.rejected(why))
    }
  }
}
