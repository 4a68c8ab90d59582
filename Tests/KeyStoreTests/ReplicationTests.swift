// Real servers that follow a real primary.

import Foundation
import Hiredis
import KeyReplica
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct ReplicationTests {
  /// A store on a primary with this number of replicas.
  private static func withReplicas(
    _ count: Int, _ body: (StoreBench, [RedisServer]) async throws -> Void
  ) async throws {
    // A replica is fed at once, not after five seconds in which others might come.
    let options = RedisServerOptions { $0.arguments = ["--repl-diskless-sync-delay", "0"] }
    try await StoreBench.with(options) { store in
      var replicas: [RedisServer] = []
      for _ in 0..<count { replicas.append(try await follow(store)) }
      try await body(store, replicas)
      for replica in replicas { try await replica.kill9() }
    }
  }

  private static func follow(_ store: StoreBench) async throws -> RedisServer {
    let before = try await attached(store)
    let replica = try await RedisServer.start()
    try await command(replica, RedisCommand("REPLICAOF", "127.0.0.1", store.redis.port))
    try await eventually("the replica follows") { try await attached(store) == before + 1 }
    return replica
  }

  private static func attached(_ store: StoreBench) async throws -> Int {
    try ServerRole(await store.run("ROLE")).replicas ?? 0
  }

  private static func command(_ server: RedisServer, _ command: RedisCommand) async throws {
    let connection = try await RedisConnection.connected(to: server.endpoint, on: StoreBench.loop)
    defer { connection.close() }
    _ = try await connection.execute(command).orThrow()
  }

  @Test func `where Redis is alone there is nobody to wait for, and nothing is written`() async throws {
    try await StoreBench.with { store in
      let replication = Replication(connection: store.connection, layout: store.layout)
      #expect(try await replication.confirm(within: .seconds(1)) == Confirmation(declared: 0))
      try await store.put(["a"])
      #expect(try await replication.confirm(within: .seconds(1)) == Confirmation(declared: 0))
      #expect(try await store.run("EXISTS", store.layout.fence).integer() == 0)
      #expect(try await store.run("HEXISTS", store.layout.meta, "replicas").integer() == 0)
    }
  }

  @Test func `replicas that nobody declared are declared, and a change is confirmed by all of them`() async throws {
    try await Self.withReplicas(2) { store, _ in
      try await store.put(["a"])
      let replication = Replication(connection: store.connection, layout: store.layout)
      var confirmation = try await replication.confirm(within: .seconds(5))
      #expect(confirmation.declaredNow && confirmation.declared == 2 && confirmation.objection == nil)
      #expect(confirmation.acknowledgement == Acknowledgement(role: "master", acknowledged: 2, attached: 2))
      guard case .found(let position) = try await store.connection.storePosition(store.layout) else {
        Issue.record("no store")
        return
      }
      #expect(position.replicas == 2 && position.version == 1)
      confirmation = try await replication.confirm(within: .seconds(5))
      #expect(!confirmation.declaredNow && confirmation.objection == nil)
      // The replicas are found even if Redis has no memory for more keys.
      try await store.run("CONFIG", "SET", "maxmemory", "1mb")
      #expect(try await replication.confirm(within: .seconds(5)).objection == nil)
    }
  }

  @Test func `a program that copies the data set isn't taken for a replica, whatever it acknowledges`() async throws {
    try await Self.withReplicas(1) { store, replicas in
      try await store.put(["a"])
      let replication = Replication(connection: store.connection, layout: store.layout)
      let copy = try await Self.acknowledgingCopy(of: store)
      var confirmation = try await replication.confirm(within: .seconds(5))
      #expect(confirmation.declaredNow && confirmation.declared == 1 && confirmation.objection == nil)
      #expect(confirmation.acknowledgement == Acknowledgement(role: "master", acknowledged: 1, attached: 1))
      // WAIT counts both the program and the replica. Only the replica's acknowledgement should count.
      try await replicas[0].pause()
      confirmation = try await replication.confirm(within: .milliseconds(300))
      #expect(confirmation.acknowledgement?.acknowledged == 0)
      #expect(confirmation.objection?.contains("0 of 1 declared replicas") ?? false)
      // A node that reads the store doesn't count the program's confirmation either.
      let server = try await ServerAccount.read(from: store.connection, store.layout, within: .seconds(5)).get()
      let commands = store.layout.fencedPositionCommands(confirmedBy: 1, besides: 1, server.source)
      let replies = try await store.connection.execute(commands)
      #expect(replies[2] == .integer(1), "the program isn't counted by WAIT, so this test shows nothing")
      let role = try ServerRole(replies[5])
      let fence = store.layout.fence(from: replies, role: role, server: server, isWatched: false)
      #expect(
        fence
          == Fence(
            confirmations: 0, signs: ReplicaSigns(following: 1, recorded: 1, hasFollowed: false, isWatched: false)))
      try replicas[0].resume()
      try await eventually("the replica confirms again") {
        try await replication.confirm(within: .seconds(5)).objection == nil
      }
      copy.end()
    }
  }

  /// One that is online, listens at no port, and says that it has all that there will ever be.
  private static func acknowledgingCopy(of store: StoreBench) async throws -> DataSetCopy {
    let copy = try DataSetCopy(of: store.redis, "PSYNC ? -1")
    try await eventually("the copy is online") {
      copy.readOn()
      return try await store.run("INFO", "replication").string().contains("port=0,state=online")
    }
    try copy.say("REPLCONF ACK 1000000000")
    try await eventually("it has acknowledged") { try ServerRole(await store.run("ROLE")).acknowledgingCopies == 1 }
    return copy
  }

  @Test func `what replicas have left behind asks for a number, and so do Sentinels`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      let replication = Replication(connection: store.connection, layout: store.layout)
      let watched = Replication(connection: store.connection, layout: store.layout, isWatched: true)
      #expect(try await replication.confirm(within: .seconds(1)).objection == nil)
      #expect(try await watched.confirm(within: .seconds(1)).objection?.contains("no replica follows") ?? false)
      try await store.run("SET", store.layout.followers, 2)
      #expect(
        try await replication.confirm(within: .seconds(1)).objection?.contains("2 replicas followed this") ?? false)
      // Fewer than there were are no reason to declare them: where is the other one?
      let replica = try await Self.follow(store)
      #expect(
        try await replication.confirm(within: .seconds(1)).objection?.contains("key-publisher replicas N") ?? false)
      try await replication.declare(replicas: 1)
      for replication in [replication, watched] {
        #expect(try await replication.confirm(within: .seconds(5)).objection == nil)
      }
      try await store.run("SET", store.layout.followers, "many")
      await #expect(throws: UnreadableStore.self) { _ = try await replication.confirm(within: .seconds(1)) }
      try await replica.kill9()
    }
  }

  @Test func `one replica of two isn't enough, however long it has acknowledged everything before`() async throws {
    try await Self.withReplicas(2) { store, replicas in
      try await store.put(["a"])
      let replication = Replication(connection: store.connection, layout: store.layout)
      #expect(try await replication.confirm(within: .seconds(5)).objection == nil)
      try await replicas[1].pause()
      // Nothing has been written since both had everything: without a fresh write this would be confirmed.
      let confirmation = try await replication.confirm(within: .milliseconds(300))
      #expect(confirmation.acknowledgement?.acknowledged == 1)
      #expect(confirmation.objection?.contains("1 of 2 declared replicas") ?? false)
      try replicas[1].resume()
      #expect(try await replication.confirm(within: .seconds(5)).objection == nil)
    }
  }

  @Test func `more replicas than are declared confirm nothing`() async throws {
    try await Self.withReplicas(1) { store, _ in
      try await store.put(["a"])
      let replication = Replication(connection: store.connection, layout: store.layout)
      #expect(try await replication.confirm(within: .seconds(5)).declared == 1)
      let second = try await Self.follow(store)
      let confirmation = try await replication.confirm(within: .seconds(5))
      #expect(confirmation.objection?.contains("key-publisher replicas 2") ?? false)
      try await replication.declare(replicas: 2)
      #expect(try await replication.confirm(within: .seconds(5)).objection == nil)
      // With 0 declared replicas none can be promoted, so no replica is waited for.
      try await replication.declare(replicas: 0)
      #expect(try await replication.confirm(within: .seconds(5)) == Confirmation(declared: 0))
      for wrong in [-1, Replication.replicaLimit + 1] {
        await #expect(throws: InvalidEdit.self) { try await replication.declare(replicas: wrong) }
      }
      try await second.kill9()
    }
  }

  @Test func `a server that isn't the primary any more confirms nothing`() async throws {
    try await Self.withReplicas(1) { store, replicas in
      try await store.put(["a"])
      let replication = Replication(connection: store.connection, layout: store.layout)
      try await replication.declare(replicas: 1)
      // While it waits for its replica, the server is made a replica of another one.
      try await replicas[0].pause()
      async let confirmation = replication.confirm(within: .seconds(20))
      try await eventually("it waits") {
        try await Self.text(store.redis, RedisCommand("CLIENT", "LIST")).contains("cmd=wait")
      }
      try await Self.command(store.redis, RedisCommand("REPLICAOF", "127.0.0.1", 1))
      let objection: String?
      do { objection = try await confirmation.objection } catch { objection = "\(error)" }
      #expect(objection != nil)
      try replicas[0].resume()
      // Later commands are rejected by the server, which is a replica now.
      let late = try await RedisConnection.connected(to: store.redis.endpoint, on: StoreBench.loop)
      defer { late.close() }
      await #expect(throws: RedisServerError.self) {
        _ = try await Replication(connection: late, layout: store.layout).confirm(within: .seconds(1))
      }
    }
  }

  private static func text(_ server: RedisServer, _ command: RedisCommand) async throws -> String {
    let connection = try await RedisConnection.connected(to: server.endpoint, on: StoreBench.loop)
    defer { connection.close() }
    return try await connection.execute(command).string()
  }

  @Test func `a number of replicas that can't be read is an error`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a"])
      for text in ["", "two", "-1", "33", "1.5"] {
        try await store.run("HSET", store.layout.meta, "replicas", text)
        await #expect(throws: UnreadableStore.self) { _ = try await store.connection.storePosition(store.layout) }
        await #expect(throws: UnreadableStore.self) { _ = try await store.connection.storeManifest(store.layout) }
      }
    }
  }

  @Test func `the publisher says what isn't confirmed, and confirms it when it is run again`() async throws {
    try await Self.withReplicas(2) { store, replicas in
      func publish(_ arguments: [String]) async throws -> (
        status: RedisFixture.ExitStatus, output: String, errors: String
      ) {
        let process = try await ServiceProcess.start(
          "key-publisher", arguments, environment: ["SLUICE_REDIS": store.redis.endpoint.description])
        let status = try await process.waitForExit()
        try await eventually("all output is there") {
          process.standardOutput.isComplete && process.standardError.isComplete
        }
        return (status, process.standardOutput.text, process.standardError.text)
      }
      var run = try await publish(["put", "--key", "s3cret", "--account", "acme"])
      #expect(run.status == .exited(0) && run.errors.isEmpty, "\(run)")
      #expect(run.output.contains("found 2 replicas of this Redis"))

      let folder = try TemporaryFolder()
      try Data("key,account\nother,acme\n".utf8).write(to: folder.url("list.csv"))
      let list = folder.path("list.csv")
      let verbs = [
        ["suspend", "--key", "s3cret"], ["revoke", "--key", "s3cret"],
        ["put", "--key", "s3cret", "--account", "acme", "--reactivate"],
        ["import", list], ["sync", list, "--max-revoked", "100"], ["seal"], ["confirm"], ["confirm-unknown", "7"],
        ["replicas", "2"],
      ]
      for verb in verbs {
        try await replicas[0].pause()
        run = try await publish(verb + ["--confirm-wait", "100ms"])
        #expect(run.status == .exited(75), "\(verb): \(run)")
        #expect(run.errors.contains("1 of 2 declared replicas have the change"))
        #expect(run.errors.contains("run the verb again"))
        #expect(!run.output.isEmpty)
        try replicas[0].resume()
        run = try await publish(verb)
        #expect(run.status == .exited(0) && run.errors.isEmpty, "\(verb): \(run)")
      }
      // Nothing was done, so there is nothing to confirm.
      run = try await publish(["revoke", "--key", "nobody's"])
      #expect(run.status == .exited(1), "\(run)")
      for wrong in [
        ["replicas", "33"], ["replicas", "two"], ["confirm-unknown", "500001"], ["seal", "--confirm-wait", "0"],
      ] {
        #expect(try await publish(wrong).status == .exited(64))
      }
    }
  }
}
