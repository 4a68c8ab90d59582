// How many bytes of bodies one event loop may hold at once, from their first byte until their answer, and of those answers that grow with
// what was asked. Each loop has its share of the node's bound, so that counting needs no other thread.
//
// Bytes are taken as they come. Taken as they are announced they would need no second look, but then whoever has one good key could keep
// everybody else out for the body's deadline with a few heads.

/// Bytes in hand. Lives on one event loop.
final class ByteBudget {
  let limit: Int
  private(set) var used = 0

  init(limit: Int) { self.limit = limit }

  /// Whether so many more would find room now.
  func hasRoom(for bytes: Int) -> Bool { bytes <= limit - used }

  /// Takes so many, unless they would be too many.
  func take(_ bytes: Int) -> Bool {
    guard hasRoom(for: bytes) else { return false }
    used += bytes
    return true
  }

  func give(back bytes: Int) {
    used -= bytes
    precondition(used >= 0, "more bytes were given back than were taken")
  }
}
