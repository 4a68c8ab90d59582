// Group commit: all changes that arrive during a round are sent together as the next round. So 32 concurrent requests
// cost two rounds and not 32, and a single request doesn't wait for others.
//
// A round is a few calls of the store's script in one write, followed by one confirmation by the replicas for all
// calls. Rejected: collecting requests for some milliseconds by a timer. A timer would delay single requests, and under
// load requests are collected during the previous round anyway.

internal import DequeModule
package import KeyStore

/// Carries out changes.
package protocol ChangeStore: Sendable {
  /// Carries out the calls in their order, and waits for the confirmation by replicas.
  func carryOut(_ calls: [ChangeCall]) async -> ChangeRound
}

/// The results of a round.
package struct ChangeRound: Sendable {
  /// The outcome of each call, in the order of the calls.
  package var outcomes: [Result<EditOutcome, any Error>]
  /// Why the changes of this round aren't confirmed; nil if they are.
  package var unconfirmed: String?

  package init(outcomes: [Result<EditOutcome, any Error>], unconfirmed: String? = nil) {
    self.outcomes = outcomes
    self.unconfirmed = unconfirmed
  }
}

/// The results of one request's changes.
package struct CommittedChanges: Sendable {
  package var results: [EditResult]
  /// The store's version after the changes.
  package var version: UInt64
  /// Why the changes aren't confirmed; nil if they are.
  package var unconfirmed: String?
}

/// Too many changes or requests are already waiting for the store.
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

  /// - Parameter limit: Maximum waiting changes.
  package init(_ store: any ChangeStore, limit: Int = 32 * KeyStoreWriter.batchLimit) {
    self.store = store
    self.limit = limit
  }

  /// The number of requests that wait for the next round.
  var waitingRequests: Int { waiting.count }

  /// Waits until the changes are in the store and all declared replicas have confirmed them, or the wait for the
  /// replicas has ended. The result says which.
  /// - Throws: ``TooBusy``, or the error because of which the changes weren't carried out.
  package func apply(_ request: ChangeRequest) async throws -> CommittedChanges {
    guard waitingEdits + request.edits.count <= limit else { throw TooBusy() }
    return try await withCheckedThrowingContinuation { continuation in
      waitingEdits += request.edits.count
      waiting.append(Waiting(request: request, continuation: continuation))
      guard !isRunning else { return }
      isRunning = true
      // A separate task, so that the cancellation of this request doesn't end a round with other requests.
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
