/// Lets requests that read the whole store go on one after the other.
actor AccountTurns {
  private let limit: Int
  private var isTaken = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  /// - Parameter limit: Maximum requests that wait.
  init(limit: Int = 8) { self.limit = limit }

  /// - Throws: ``TooBusy``.
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
