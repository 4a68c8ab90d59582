/// Turns for requests that read the whole store: one of them runs at a time.
actor AccountTurns {
  private let limit: Int
  private var isTaken = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  /// - Parameter limit: Maximum waiting requests.
  init(limit: Int = 8) { self.limit = limit }

  /// Waits for a turn. The caller ends it with ``giveBack()``.
  /// - Throws: ``TooBusy`` if too many requests are waiting.
  func take() async throws {
    guard isTaken else {
      isTaken = true
      return
    }
    guard waiting.count < limit else { throw TooBusy() }
    await withCheckedContinuation { waiting.append($0) }
  }

  func giveBack() {
    if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
  }
}
