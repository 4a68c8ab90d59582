// The source mark in a real Redis: which callers can write a mark, and when no mark is written.

import Hiredis
import KeyReplica
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(2))) struct SourceMarksTests {
  private func take(_ store: StoreBench) async throws -> ListLease {
    try await ListLease.take(store.connection, store.layout, as: "the test", within: .zero) { _ in }
  }

  private func marks(_ store: StoreBench) -> SourceMarks {
    SourceMarks(connection: store.connection, layout: store.layout)
  }

  /// The position without the source mark, whose time is another one in each reading.
  private func position(_ store: StoreBench) async throws -> StorePosition {
    try found(await store.connection.storePosition(store.layout))
  }

  private func found(_ answer: StoreAnswer<StorePosition>) throws -> StorePosition {
    guard case .found(var position) = answer else {
      throw NeverHappened(description: "there is no store")
    }
    position.source = SourceMark()
    return position
  }

  @Test func `a mark is read with the position and Redis's time, and changes no version`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      let (marks, lease, before) = (marks(store), try await take(store), try await position(store))
      #expect(try await marks.read().mark.moment == nil)
      let moment = try await marks.time()
      let outcome = try await marks.mark(
        moment, under: lease, of: before.epoch, at: before.version, digest: before.digest)
      #expect(
        outcome == .init(isWritten: true, epoch: before.epoch, version: before.version, digest: before.digest))
      let (answer, mark) = try await marks.read()
      #expect(try found(answer) == before && mark.moment == moment && mark.version == before.version)
      let age = try #require(mark.age)
      #expect(age < .seconds(60) && (mark.readAt ?? 0) >= moment)
      #expect(mark.covers(moment) && !mark.covers(moment + 1))
      #expect(try await store.discrepancies() == [])
      await lease.release()
    }
  }

  @Test func `a store that went back, was changed by somebody else, or is another one isn't marked`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "b"])
      let (marks, lease, now) = (marks(store), try await take(store), try await position(store))
      let moment = try await marks.time()
      var outcome = try await marks.mark(moment, under: lease, of: now.epoch, at: now.version + 1, digest: now.digest)
      #expect(!outcome.isWritten && outcome.version == now.version)
      outcome = try await marks.mark(moment, under: lease, of: now.epoch, at: now.version - 1, digest: now.digest)
      #expect(!outcome.isWritten && outcome.version == now.version)
      outcome = try await marks.mark(moment, under: lease, of: "another", at: 0, digest: now.digest)
      #expect(!outcome.isWritten && outcome.epoch == now.epoch)
      // A copy that was restored, and then reached the same version with another content.
      outcome = try await marks.mark(moment, under: lease, of: now.epoch, at: now.version, digest: .empty)
      #expect(!outcome.isWritten && outcome.digest == now.digest)
      // A moment in the future, as after Redis's clock was set back.
      outcome = try await marks.mark(
        moment + 3_600_000_000, under: lease, of: now.epoch, at: now.version, digest: now.digest)
      #expect(!outcome.isWritten)
      #expect(try await marks.read().mark.moment == nil)
      try await store.run("DEL", store.layout.lease)
      let error = await #expect(throws: RedisServerError.self) {
        _ = try await marks.mark(moment, under: lease, of: now.epoch, at: now.version, digest: now.digest)
      }
      #expect(error?.storeCode == .leaseEnded)
      #expect(try await marks.read().mark.moment == nil)
    }
  }

  @Test func `the bound is set and taken back, and a mark that is missing is beyond it`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      let marks = marks(store)
      #expect(try await marks.read().mark.isWithinBound)
      try await marks.setMaxAge(.seconds(60))
      var mark = try await marks.read().mark
      #expect(mark.maxAge == .seconds(60) && !mark.isWithinBound)
      let (lease, now) = (try await take(store), try await position(store))
      _ = try await marks.mark(try await marks.time(), under: lease, of: now.epoch, at: now.version, digest: now.digest)
      #expect(try await marks.read().mark.isWithinBound)
      try await marks.setMaxAge(nil)
      mark = try await marks.read().mark
      #expect(mark.maxAge == nil && mark.isWithinBound)
      try await store.run("HSET", store.layout.meta, "source_mark", "yesterday")
      await #expect(throws: UnreadableStore.self) { _ = try await marks.read() }
      // Reads of the position alone still work. The mark in it permits no refusal, although there is no bound.
      #expect(try await position(store) == now)
      guard case .found(let unreadable) = try await store.connection.storePosition(store.layout) else { return }
      #expect(unreadable.source.flaw?.contains("source_mark") == true && !unreadable.source.isWithinBound)
      await lease.release()
    }
  }

  @Test func `a user who may not ask for the time reads the position all the same`() async throws {
    try await StoreBench.with(RedisServerOptions { $0.users = ["reader on >secret ~* &* +@all -time"] }) { store in
      try await store.put(["a"])
      var endpoint = store.redis.endpoint
      (endpoint.user, endpoint.password) = ("reader", Secret("secret"))
      let connection = try await RedisConnection.connected(to: endpoint, on: StoreBench.loop)
      defer { connection.close() }
      let read = try await SourceMarks(connection: connection, layout: store.layout).read()
      let expected = try await position(store)
      #expect(try found(read.position) == expected)
      #expect(try await marks(store).read().mark.readAt != nil)
      #expect(read.mark.readAt == nil && read.mark.age == nil)
    }
  }

  @Test func `a lease of a lost connection is replaced at once by its own process, and by no other`() async throws {
    try await StoreBench.with { store in
      let former = try await take(store)
      let again = try await ListLease.take(
        store.connection, store.layout, as: "the test", within: .zero, succeeding: former
      ) { _ in }
      await #expect(throws: ListLease.Taken.self) { _ = try await take(store) }
      // The former lease has ended.
      let error = await #expect(throws: RedisServerError.self) {
        _ = try await store.writer.apply([.put("a")], under: former)
      }
      #expect(error?.storeCode == .leaseEnded || error?.storeCode == .absent)
      #expect(try await store.writer.apply([.put("a")], under: again).changed == 1)
      await again.release()
    }
  }
}
