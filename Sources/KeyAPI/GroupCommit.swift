// Group commit: what requests bring while a round is on its way goes out together as the next one. So 32 requests at
// once cost two rounds and not 32, and a request alone waits for nobody.
//
// A round is a few calls of the store's script in one write, and then one confirmation by the replicas for all of them.
// Rejected: a timer that collects for some milliseconds. It makes a request alone slower, and under load the round
// before is the timer.

internal import DequeModule
package import KeyStore

/// Where changes go.
package protocol ChangeStore: Sendable {
  /// Carries out some calls in their order, and has them confirmed.
  func carryOut(_ calls: [ChangeCall]) async -> ChangeRound
}

/// What became of a round.
package struct ChangeRound: Sendable {
  /// For each call.
  package var outcomes: [Result<EditOutcome, any Error>]
  /// Why what was carried out isn't confirmed; nil if it is.
  package var unconfirmed: String?

  package init(outcomes: [Result<EditOutcome, any Error>], unconfirmed: String? = nil) {
    self.outcomes = outcomes
    self.unconfirmed = unconfirmed
  }
}

/// What became of one request's changes.
package struct CommittedChanges: Sendable {
  package var results: [EditResult]
  /// The store's version after them.
  package var version: UInt64
  /// Why they aren't confirmed; nil if they are.
  package var unconfirmed: String?
}

/// Too much is waiting for the store already.
package struct TooBusy: Error, Sendable, Hashable {}

/// Carries out the changes of many requests together.
package actor GroupCommit {
  private struct Waiting {
    let request: ChangeRequest
    let continuation: CheckedContinuation<CommittedChanges, any Error>
  }

  private let store: any ChangeStore
  private let limit: Int
  private var waiting: Deque<Waiting> = []
  private var waitingEdits = 0
  private var isRunning = false

  /// - Parameter limit: Maximum changes that wait.
  package init(_ store: any ChangeStore, limit: Int = 32 * KeyStoreWriter.batchLimit) {
    self.store = store
    self.limit = limit
  }

  /// How many requests wait for the next round.
  var waitingRequests: Int { waiting.count }

  /// Answers when the changes are in the store, and confirmed or not.
  /// - Throws: ``TooBusy``, or what kept the store from carrying them out.
  package func apply(_ request: ChangeRequest) async throws -> CommittedChanges {
    guard waitingEdits + request.edits.count <= limit else { throw TooBusy() }
    return try await withCheckedThrowingContinuation { continuation in
      waitingEdits += request.edits.count
      waiting.append(Waiting(request: request, continuation: continuation))
      guard !isRunning else { return }
      isRunning = true
      // Of its own, so that a request that is cancelled ends nobody else's round.
      Task { await self.run() }
    }
  }

  private func run() async {
    while !waiting.isEmpty {
      let calls = ChangeGroups.calls(of: waiting.lazy.map(\.request))
      let taken = calls.map { call in call.counts.map { _ in waiting.removeFirst() } }
      waitingEdits -= calls.reduce(0) { $0 + $1.edits.count }
      let round = await store.carryOut(calls)
      for (requests, outcome) in zip(taken, round.outcomes) {
        switch outcome {
        case .failure(let error):
          for request in requests { request.continuation.resume(throwing: error) }
        case .success(let outcome):
          var results = outcome.results[...]
          for request in requests {
            let own = results.prefix(request.request.edits.count)
            results = results.dropFirst(own.count)
            request.continuation.resume(
              returning: CommittedChanges(
                results: Array(own), version: outcome.version, unconfirmed: round.unconfirmed))
          }
        }
      }
    }
    isRunning = false
  }
}
