// How many bytes of bodies one event loop may hold at once, from their first byte until their answer. Each loop has its share of the node's
// bound, so that counting needs no other thread.

/// Bytes in hand. Lives on one event loop.
final class ByteBudget {
  let limit: Int
  private(set) var used = 0

  init(limit: Int) { self.limit = limit }

  /// Takes so many, unless they would be too many.
  func take(_ bytes: Int) -> Bool {
    guard bytes <= limit - used else { return false }
    used += bytes
    return true
  }

  func give(back bytes: Int) {
    used -= bytes
    precondition(used >= 0, "more bytes were given back than were taken")
  }
}
