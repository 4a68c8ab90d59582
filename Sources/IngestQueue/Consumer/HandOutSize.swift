// How many bytes a worker claims at once. A Redis with a `client-output-buffer-limit` for normal clients closes the
// connection over a longer answer, and says nothing; the claim then is the worker's all the same, and would be handed
// out again, with the same end. So after each such closing a quarter is asked for, and the rest of the claim goes back.
// From the second on the claim is made on a connection of its own, so that what happens to it concerns no other claim.
// A single envelope that closed that connection again and again is one that Redis can't hand out: it becomes a dead
// letter.
//
// Other closings (Redis was ended, a network failed) are taken for the same, and cost a minute of smaller claims. They
// make no dead letter: that takes fourteen in a row in which the server took the connection and the claim.

internal import Synchronization

/// The bytes of one claim, for all slots of a consumer.
final class HandOutSize: Sendable {
  struct Size: Equatable {
    /// Bytes of the whole claim, at least 1. One envelope over it comes alone.
    var bytes: Int
    /// Whether the claim is made on a connection of its own.
    var isApart: Bool
    /// Whether a single envelope that the slot still holds is a dead letter.
    var givesUp: Bool
  }

  private struct State {
    /// Closings in a row, by slot.
    var closings: [Int: Int] = [:]
    /// For all slots: how often the whole was divided by four.
    var divisions = 0
    var changed: ContinuousClock.Instant?
  }

  private let most: Int
  private let state = Mutex(State())

  /// After the first one it is likely that the answer was too long.
  private static let closingsUntilApart = 2
  /// By then less than the smallest envelope is asked for, and it was tried more than once.
  private static let closingsUntilGivenUp = 14
  /// After so long without a closing four times as much is asked for.
  private static let calm = Duration.seconds(60)

  /// - Parameter most: Bytes of a claim while all is well.
  init(most: Int) { self.most = most }

  func size(for slot: Int) -> Size {
    state.withLock { state in
      let closings = state.closings[slot] ?? 0
      return Size(
        bytes: max(1, most >> (2 * min(max(closings, state.divisions), 15))),
        isApart: closings >= Self.closingsUntilApart, givesUp: closings >= Self.closingsUntilGivenUp)
    }
  }

  /// The connection was closed over a claim.
  func noteClosing(of slot: Int, at now: ContinuousClock.Instant = .now) {
    state.withLock { state in
      let closings = (state.closings[slot] ?? 0) + 1
      state.closings[slot] = closings
      state.divisions = max(state.divisions, min(closings, 15))
      state.changed = now
    }
  }

  /// A claim was answered.
  func noteAnswer(to slot: Int, at now: ContinuousClock.Instant = .now) {
    state.withLock { state in
      state.closings[slot] = nil
      guard let changed = state.changed, now - changed >= Self.calm else { return }
      state.divisions -= 1
      state.changed = state.divisions > 0 ? now : nil
    }
  }
}
