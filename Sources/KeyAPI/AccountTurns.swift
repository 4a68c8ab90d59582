/// Turns for requests that read the whole store: one of them runs at a time.
actor AccountTurns {
  private let limit: Int
  private var isTaken = false
  private var waiting: [(number: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []
  private var lastNumber: UInt64 = 0

  /// - Parameter limit: Maximum waiting requests.
  init(limit: Int = 8) { self.limit = limit }

  /// The number of requests that wait for a turn.
  var waitingRequests: Int { waiting.count }

  /// Waits for a turn. The caller ends it with ``giveBack()``.
  /// - Throws: ``TooBusy`` if too many requests are waiting, or if the turn didn't come in time.
  func take(within time: Duration) async throws {
    guard isTaken else {
      isTaken = true
      return
    }
    guard waiting.count < limit else { throw TooBusy() }
    lastNumber += 1
    let number = lastNumber
    let timer = Task {
      try await Task.sleep(for: time)
      self.giveUp(number)
    }
    defer { timer.cancel() }
    try await withCheckedThrowingContinuation { waiting.append((number, $0)) }
  }

  /// Does nothing if the request has its turn already.
  private func giveUp(_ number: UInt64) {
    guard let index = waiting.firstIndex(where: { $0.number == number }) else { return }
    waiting.remove(at: index).continuation.resume(throwing: TooBusy())
  }

  func giveBack() {
    if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().continuation.resume() }
  }
}
