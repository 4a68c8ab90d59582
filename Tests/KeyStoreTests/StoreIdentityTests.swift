// The ID and the name of a store in Redis, as the scripts keep them and as the publisher's verbs show them.

import Foundation
import Hiredis
import KeyReplica
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(2))) struct StoreIdentityTests {
  private func found(_ store: StoreBench) async throws -> StorePosition {
    guard case .found(let position) = try await store.connection.storePosition(store.layout) else {
      throw NeverHappened(description: "there is no store")
    }
    return position
  }

  @Test func `a store's ID is made with it, and stays when the store is rebuilt`() async throws {
    try await StoreBench.with { store in
      try await store.put(["key"])
      let first = try await found(store)
      #expect(first.store.id == first.epoch && first.store.name == nil && StoreIdentity.isID(first.store.id))
      #expect(try await store.writer.name("production"))
      try await store.run("HSET", store.layout.meta, "count", 7)
      let rebuild = StoreRebuild(connection: store.connection, layout: store.layout)
      _ = try await rebuild.run(after: try await rebuild.survey(), droppingUnreadable: false)
      let second = try await found(store)
      #expect(second.epoch != first.epoch)
      #expect(second.store == StoreIdentity(id: first.store.id, name: "production"))
    }
  }

  @Test(arguments: ["put", "name", "adopt", "rebuild"])
  func `a store of a build that gave it no ID has one by its epoch, and the next write records it`(
    write: String
  ) async throws {
    try await StoreBench.with { store in
      try await store.put(["key"])
      try await store.run("HDEL", store.layout.meta, "store")
      let epoch = try await found(store).epoch
      #expect(try await found(store).store.id == epoch)
      switch write {
      case "put": try await store.put(["another"])
      case "name": _ = try await store.writer.name("production")
      case "adopt": try await store.writer.adopt("another")
      default:
        let rebuild = StoreRebuild(connection: store.connection, layout: store.layout)
        _ = try await rebuild.run(after: try await rebuild.survey(), droppingUnreadable: false)
      }
      #expect(try await store.run("HGET", store.layout.meta, "store").string() == epoch)
    }
  }

  @Test func `a name is given once, and begins a store`() async throws {
    try await StoreBench.with { store in
      #expect(try await store.writer.name("production"))
      #expect(try await !store.writer.name("production"))
      await #expect(throws: OtherStoreName(expected: "staging", found: "production")) {
        _ = try await store.writer.name("staging")
      }
      await #expect(throws: InvalidEdit.self) { _ = try await store.writer.name("two words") }
      let position = try await found(store)
      #expect(position.store.name == "production" && position.version == 0 && !position.sealed)
      try await store.put(["key"])
      #expect(try await found(store).store.name == "production")
    }
  }

  @Test func `the latest eight stores that it replaces are kept, each once`() async throws {
    try await StoreBench.with { store in
      await #expect(throws: RedisServerError.self) { try await store.writer.adopt("another") }
      try await store.put(["key"])
      for number in 0..<10 { try await store.writer.adopt("store-\(number)") }
      try await store.writer.adopt("store-5")
      let adopted = try await found(store).adopted
      #expect(adopted == [5, 9, 8, 7, 6, 4, 3, 2].map { "store-\($0)" })
      await #expect(throws: InvalidEdit.self) { try await store.writer.adopt("two words") }
      // It is no change of what the store holds.
      #expect(try await found(store).version == 1)
    }
  }

  @Test func `the publisher names a store, and takes no list into one of another name`() async throws {
    try await StoreBench.with { store in
      let created = try await PublisherRun.of(store, ["create", "--name", "production"])
      #expect(created.status == .exited(0) && created.output.contains("the store is named production; its ID is "))
      let again = try await PublisherRun.of(store, ["create", "--name", "production"])
      #expect(again.status == .exited(0) && again.output.contains("already"))
      for (arguments, status) in [(["create"], 64), (["create", "--name", "a b"], 64), (["adopt", "a b"], 64)] {
        let run = try await PublisherRun.of(store, arguments)
        #expect(run.status == .exited(Int32(status)), "\(run)")
      }
      let list = store.redis.folder.path("list.csv")
      try Data("key,account\nk,acme\n".utf8).write(to: URL(fileURLWithPath: list))
      let wrong = try await PublisherRun.of(store, ["import", list, "--name", "staging", "--seal"])
      #expect(wrong.status == .exited(1), "\(wrong)")
      #expect(wrong.errors.contains("expected the store staging, but the store at this address is named production"))
      #expect(try await found(store).version == 0)
      let right = try await PublisherRun.of(store, ["import", list, "--name", "production", "--seal"])
      #expect(right.status == .exited(0), "\(right)")
      let position = try await PublisherRun.of(store, ["position", "--json"])
      #expect(position.output.contains("\"name\":\"production\""))
      #expect(try await PublisherRun.of(store, ["verify"]).output.contains("store    production (ID "))
    }
  }

  @Test func `the first import names the store`() async throws {
    try await StoreBench.with { store in
      let run = try await PublisherRun.of(
        store, ["import", "-", "--name", "production", "--expect", "1"], input: "key,account\nk,acme\n")
      #expect(run.status == .exited(0), "\(run)")
      #expect(try await found(store).store.name == "production")
    }
  }
}
