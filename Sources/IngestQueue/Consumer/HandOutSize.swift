// How many bytes a worker claims at once. A Redis with a `client-output-buffer-limit` for normal clients closes the
// connection on a longer reply, without an error. The worker still owns the claim, so Redis would hand it out again,
// with the same result. So after each such closing the worker asks for a quarter, and the rest of the claim returns to
// the queue. From the second closing on, the claim is made on a connection of its own, so that a closing affects no
// other claim. If a single envelope closes that connection again and again, Redis can't hand it out, and it becomes a
// dead letter.
//
// Other closings (Redis ended, a network failed) look the same, and cost a minute of smaller claims. They make no dead
// letter: that takes fourteen closings in a row, each after the server had accepted the connection and the claim.

internal import Synchronization

/// The bytes of one claim, for all slots of a consumer.
final class HandOutSize: Sendable {
  struct Size: Equatable {
    /// Bytes of the whole claim, at least 1. A larger envelope is claimed alone.
    var bytes: Int
    /// Whether the claim is made on a connection of its own.
    var isApart: Bool
    /// Whether a single envelope that is still in the slot becomes a dead letter.
    var givesUp: Bool
  }

  private struct State {
    /// Closings in a row, by slot.
    var closings: [Int: Int] = [:]
    /// How often the maximum was divided by four, for all slots.
    var divisions = 0
    var changed: ContinuousClock.Instant?
  }

  private let most: Int
  private let state = Mutex(State())

  /// After the first closing it is likely that the reply was too long.
  private static let closingsUntilApart = 2
  /// By then the worker asks for less than the smallest envelope, and has tried it more than once.
  private static let closingsUntilGivenUp = 14
  /// After this time without a closing the worker asks for four times as much.
  private static let calm = Duration.seconds(60)

  /// - Parameter most: Bytes of a claim without closings.
  init(most: Int) { self.most = most }

  func size(for slot: Int) -> Size {
    state.withLock { state in
      let closings = state.closings[slot] ?? 0
      return Size(
        bytes: max(1, most >> (2 * min(max(closings, state.divisions), 15))),
        isApart: closings >= Self.closingsUntilApart, givesUp: closings >= Self.closingsUntilGivenUp)
    }
  }

  /// Records that the connection was closed on a claim.
  func noteClosing(of slot: Int, at now: ContinuousClock.Instant = .now) {
    state.withLock { state in
      let closings = (state.closings[slot] ?? 0) + 1
      state.closings[slot] = closings
      state.divisions = max(state.divisions, min(closings, 15))
      state.changed = now
    }
  }

  /// Records that a claim was answered.
  func noteAnswer(to slot: Int, at now: ContinuousClock.Instant = .now) {
    state.withLock { state in
      state.closings[slot] = nil
      guard let changed = state.changed, now - changed >= Self.calm else { return }
      state.divisions -= 1
      state.changed = state.divisions > 0 ? now : nil
    }
  }
}
