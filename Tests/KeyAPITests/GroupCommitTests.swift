import Hiredis
import KeyReplica
import KeyStore
import RedisFixture
import Synchronization
import Testing

@testable import KeyAPI

@Suite struct GroupCommitTests {
  /// A store whose rounds end only after ``open()``.
  private final class HeldStore: ChangeStore {
    private struct State {
      var rounds: [[ChangeCall]] = []
      var waiting: [CheckedContinuation<Void, Never>] = []
      var isOpen = false
      var failing: Set<UInt64> = []
    }

    private let state = Mutex(State())

    var rounds: [[ChangeCall]] { state.withLock { $0.rounds } }

    /// Calls that are based on this version fail.
    func fail(_ basis: UInt64) { state.withLock { _ = $0.failing.insert(basis) } }

    func open() {
      let waiting = state.withLock { state in
        state.isOpen = true
        defer { state.waiting = [] }
        return state.waiting
      }
      for continuation in waiting { continuation.resume() }
    }

    func carryOut(_ calls: [ChangeCall]) async -> ChangeRound {
      await withCheckedContinuation { continuation in
        let isOpen = state.withLock { state in
          state.rounds.append(calls)
          if !state.isOpen { state.waiting.append(continuation) }
          return state.isOpen
        }
        if isOpen { continuation.resume() }
      }
      let failing = state.withLock { $0.failing }
      return ChangeRound(
        outcomes: calls.map { call in
          if let basis = call.basis, failing.contains(basis) {
            return .failure(RedisServerError(message: "OOM command not allowed"))
          }
          let results = call.edits.map { edit in
            EditResult(kind: edit.key == KeyID(secret: "revoked".utf8) ? .staysRevoked : .changed, state: .active)
          }
          return .success(EditOutcome(epoch: "e", version: 7, results: results))
        }, unconfirmed: nil)
    }
  }

  private static func put(_ secret: String, basis: UInt64? = nil) -> ChangeRequest {
    ChangeRequest(
      edits: [
        .active(KeyID(secret: secret.utf8), of: "acme", reactivates: false, changesAccount: false, revision: nil)
      ], basis: basis)
  }

  @Test func `what comes while a round is on its way goes out as one call`() async throws {
    let store = HeldStore()
    let commit = GroupCommit(store)
    try await withThrowingTaskGroup(of: EditResult.Kind.self) { group in
      group.addTask { try await commit.apply(Self.put("first")).results[0].kind }
      try await eventually("the first is on its way") { store.rounds.count == 1 }
      for number in 0..<31 {
        group.addTask { try await commit.apply(Self.put(number == 7 ? "revoked" : "k\(number)")).results[0].kind }
      }
      try await eventually("31 wait") { await commit.waitingRequests == 31 }
      store.open()
      var kinds: [EditResult.Kind] = []
      for try await kind in group { kinds.append(kind) }
      #expect(kinds.count == 32 && kinds.count { $0 == .staysRevoked } == 1, "each has its own result")
    }
    #expect(store.rounds.map { $0.map(\.counts.count) } == [[1], [31]])
  }

  @Test func `a call that fails fails its own requests and no others`() async throws {
    let store = HeldStore()
    store.fail(3)
    store.open()
    let commit = GroupCommit(store)
    await #expect(throws: RedisServerError.self) { try await commit.apply(Self.put("a", basis: 3)) }
    #expect(try await commit.apply(Self.put("b", basis: 4)).version == 7)
    #expect(try await commit.apply(Self.put("c")).results.count == 1)
  }

  @Test func `what waits has a limit`() async throws {
    let store = HeldStore()
    let commit = GroupCommit(store, limit: 3)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { _ = try await commit.apply(Self.put("first")) }
      try await eventually("the first is on its way") { store.rounds.count == 1 }
      for number in 0..<3 { group.addTask { _ = try await commit.apply(Self.put("k\(number)")) } }
      try await eventually("three wait") { await commit.waitingRequests == 3 }
      await #expect(throws: TooBusy.self) { try await commit.apply(Self.put("one too many")) }
      store.open()
      try await group.waitForAll()
    }
    #expect(try await commit.apply(Self.put("later")).version == 7)
  }
}
