// Lists that are applied at the same time take turns.

import Foundation
import Hiredis
import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(3))) struct ListLeaseTests {
  private func take(_ store: StoreBench, within limit: Duration = .zero) async throws -> ListLease {
    try await ListLease.take(store.connection, store.layout, as: "the test", within: limit) { _ in }
  }

  private func carryOut(
    _ store: StoreBench, _ keys: [String], under lease: ListLease
  ) async throws -> Publication.Outcome {
    let list = try KeyListSpoolTests.spool("key,account\n" + keys.map { "\($0),acme\n" }.joined())
    let publication = Publication(
      connection: store.connection, layout: store.layout, terms: .init(revokesUnlisted: true))
    return try await publication.carryOut(list, agreed: publication.plan(for: list), under: lease)
  }

  @Test func `one has it at a time, and it can be had again once it is released`() async throws {
    try await StoreBench.with { store in
      let lease = try await take(store)
      await #expect(throws: ListLease.Taken.self) { _ = try await take(store) }
      do {
        _ = try await take(store)
      } catch let taken as ListLease.Taken {
        #expect("\(taken)".contains("the test, since 20"))
      }
      let left = try await store.run("PTTL", store.layout.lease).integer()
      #expect((1...15_000).contains(left))
      await lease.release()
      #expect(try await store.size() == 0)
      await (try take(store)).release()
    }
  }

  @Test func `a list whose lease has ended changes nothing more`() async throws {
    try await StoreBench.with { store in
      let lease = try await take(store)
      #expect(try await carryOut(store, ["a", "b"], under: lease).edits?.changed == 2)
      // As if its process had been stopped for longer than a lease.
      try await store.run("DEL", store.layout.lease)
      let version = try await store.run("HGET", store.layout.meta, "version")
      for _ in 0..<2 {
        let error = await #expect(throws: RedisServerError.self) {
          _ = try await carryOut(store, ["a", "b", "c"], under: lease)
        }
        #expect(error?.storeCode == .leaseEnded)
        // Once because nobody has it, and once because somebody else has.
        try await store.run("SET", store.layout.lease, "other 1 0 somebody")
      }
      #expect(try await store.run("HGET", store.layout.meta, "version") == version)
      // And it takes away nobody's.
      await lease.release()
      #expect(try await store.run("GET", store.layout.lease).string() == "other 1 0 somebody")
    }
  }

  @Test func `a lease that Redis's clock keeps alive is taken over once it isn't renewed`() async throws {
    try await StoreBench.with { store in
      // Without an end, as if the clock had been set back by years.
      try await store.run("SET", store.layout.lease, "other 1700000000 3 somebody")
      let clock = ContinuousClock()
      let begin = clock.now
      let lease = try await take(store, within: .seconds(60))
      #expect(clock.now - begin >= ListLease.duration)
      #expect(try await carryOut(store, ["a"], under: lease).edits?.changed == 1)
      await lease.release()
    }
  }

  @Test func `a second sync waits for the first, or ends with 75 and says who is at work`() async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      try Data("key,account\na,acme\nb,acme\n".utf8).write(to: folder.url("first"))
      try Data("key,account\nb,acme\nc,acme\n".utf8).write(to: folder.url("second"))
      let command = "cd '\(folder.path)'; cat first; touch begun; while [ ! -e go ]; do sleep 0.05; done"
      let first = try await PublisherRun.begin(store, ["sync", "--command", command])
      try await eventually("the first is at work") { FileManager.default.fileExists(atPath: folder.path("begun")) }
      let arguments = ["sync", "--command", "cat '\(folder.path("second"))'", "--max-revoked", "100"]
      let refused = try await PublisherRun.of(store, arguments + ["--wait", "0"])
      #expect(refused.status == .exited(75), "\(refused)")
      #expect(refused.errors.contains("process \(first.pid), since 20"), "\(refused)")
      let second = try await PublisherRun.begin(store, arguments)
      try await second.waitForLine(containing: "waiting: another list is being applied by key-publisher sync on")
      try Data().write(to: folder.url("go"))
      for process in [first, second] {
        let run = try await PublisherRun.end(of: process)
        #expect(run.status == .exited(0), "\(run)")
      }
      // The store is the second's list: its export ran after the first had ended.
      #expect(try await store.state(of: "a") == .revoked)
      #expect(try await store.state(of: "b") == .active)
      #expect(try await store.state(of: "c") == .active)
    }
  }

  @Test func `one that was killed holds up others for no longer than a lease`() async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      let first = try await PublisherRun.begin(
        store, ["import", "--command", "touch '\(folder.path("begun"))'; sleep 1000"])
      try await eventually("the first is at work") { FileManager.default.fileExists(atPath: folder.path("begun")) }
      first.kill9()
      let clock = ContinuousClock()
      let begin = clock.now
      let run = try await PublisherRun.of(
        store, ["import", "--wait", "1m", "--command", "printf 'key,account\\nk,acme\\n'"])
      #expect(run.status == .exited(0) && run.errors.contains("waiting"), "\(run)")
      #expect(clock.now - begin < ListLease.duration + .seconds(5))
    }
  }
}
