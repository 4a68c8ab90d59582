// Some of the faults of KeyStoreTests/Faults once more, one after the other on one node, as its clients and operators see them: by its
// answers to pushes, its status and its log.

import Foundation
import Hiredis
import KeyReplica
import KeyStore
import NIOPosix
import RedisClient
import RedisFixture
import Synchronization
import Testing

struct StoreFaultTests {
  /// One fault of the store, and what the node must say of it.
  private struct Fault {
    var name: String
    /// The mirror's state in the status, where it is another than `complete`.
    var state: String?
    /// The reason in the status for refusing nobody.
    var reason: String?
    /// In the log.
    var line: String?
    var strike: () async throws -> Void
    var mend: () async throws -> Void = {}
  }

  @Test func `through one fault after the other nobody is refused, the status names each, and the node heals`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1_000)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let redis = try await RedisConnection.connected(
      to: deployment.redis.endpoint, on: MultiThreadedEventLoopGroup.singleton.any())
    defer { redis.close() }
    let layout = StoreLayout()
    @Sendable func run(_ words: any RedisArgument...) async throws {
      let name = "\(words[0])"
      _ = try await redis.execute(RedisCommand(name, arguments: Array(words.dropFirst()))).orThrow()
    }
    func put(_ keys: [String]) async throws {
      _ = try await KeyStoreWriter(connection: redis, layout: layout).apply(
        keys.map { KeyEdit(key: KeyID(secret: $0.utf8), kind: .put(account: "late", .active)) })
    }
    let pushes = Pushes(node, keys: (0..<1_000).map(Deployment.key))
    let faults = [
      Fault(
        name: "a store of another schema", state: "incompatible", reason: "schema 3",
        strike: { try await run("HSET", layout.meta, "schema", 3) },
        mend: { try await run("HSET", layout.meta, "schema", 1) }),
      Fault(
        name: "an old backup, whose versions are used again", line: "mirror resync started",
        strike: {
          try await run("SAVE")
          try await put(["sk_lost_1", "sk_lost_2"])
          try await eventually("the node knows them") { try await node.push(key: "sk_lost_2").status == 202 }
          _ = try await redis.execute([RedisCommand("MULTI"), RedisCommand("DEBUG", "RELOAD", "NOSAVE")])
          // Its own reply is only that it is queued.
          do { try await put(["sk_new_1", "sk_new_2"]) } catch is UnexpectedReply {}
          for reply in try await redis.execute(RedisCommand("EXEC")).array() { _ = try reply.orThrow() }
          pushes.include(["sk_new_1", "sk_new_2"])
        },
        // The lost ones are held until somebody says that they may be gone.
        mend: { try await deployment.run("key-publisher", ["confirm"]) }),
      Fault(
        name: "a primary that was made a replica", reason: "slave",
        strike: { try await run("REPLICAOF", "127.0.0.1", 1) },
        mend: { try await run("REPLICAOF", "NO", "ONE") }),
      Fault(
        name: "a store that says nothing", reason: "in time", strike: { try await deployment.redis.pause() },
        mend: { try deployment.redis.resume() }),
      Fault(
        name: "FLUSHALL", state: "diverged", reason: "there is no key store", strike: { try await run("FLUSHALL") },
        mend: {
          // Put all of them before the seal, or the missing ones could be refused.
          try await put(["sk_new_1", "sk_new_2"])
          try await deployment.publish(keys: 1_000)
          try await deployment.run("key-publisher", ["adopt", try await node.storeID()])
        }),
    ]
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await pushes.run() }
      for fault in faults {
        try await pushes.come("before \(fault.name)")
        let lines = node.process.outputs.split(separator: "\n").count
        try await fault.strike()
        try await eventually("\(fault.name) is named") {
          let status = try await node.get("/status").body
          if let state = fault.state, status.firstMatch(of: try Regex("\"state\" ?: ?\"\(state)\"")) == nil {
            return false
          }
          if let line = fault.line {
            guard node.process.outputs.split(separator: "\n").dropFirst(lines).contains(where: { $0.contains(line) })
            else { return false }
          }
          guard let reason = fault.reason else { return true }
          let object = try JSONSerialization.jsonObject(with: Data(status.utf8)) as? [String: Any]
          return (object?["refusals_blocked"] as? String)?.contains(reason) == true
        }
        if fault.reason != nil {
          pushes.expectUndecided(true)
          try await pushes.come("while there is \(fault.name)")
          pushes.expectUndecided(false)
        }
        try await fault.mend()
        try await eventually(within: .seconds(20), "the node has healed from \(fault.name)") {
          guard try await node.isReady(), try await node.push(key: "sk_nobody").status == 401 else { return false }
          return try await node.push(key: Deployment.key(7)).status == 202
        }
        for key in pushes.late { #expect(try await node.push(key: key).status == 202, "\(key) after \(fault.name)") }
      }
      try await pushes.come("in the end")
      group.cancelAll()
      try await group.waitForAll()
    }
    let seen = pushes.seen
    #expect(Set(seen.active.keys).isSubset(of: [202, 503, 504]), "active keys were answered \(seen.active)")
    #expect(Set(seen.strangers.keys).isSubset(of: [401, 503]), "strangers were answered \(seen.strangers)")
    #expect(seen.refusedUnproven == 0, "strangers were refused by a store that isn't well")
    print("pushes of active keys: \(seen.active), of strangers: \(seen.strangers)")
  }
}

/// Clients that push without a pause, with keys that are active all the time and with keys that never were.
private final class Pushes: Sendable {
  struct Seen {
    var active: [Int: Int] = [:]
    var strangers: [Int: Int] = [:]
    var refusedUnproven = 0
  }

  private struct State {
    var seen = Seen()
    var late: [String] = []
    var expectsUndecided = false
  }

  private let node: Node
  private let keys: [String]
  private let state = Mutex(State())

  init(_ node: Node, keys: [String]) {
    self.node = node
    self.keys = keys
  }

  var seen: Seen { state.withLock { $0.seen } }
  /// Keys that became active later on.
  var late: [String] { state.withLock { $0.late } }

  func include(_ keys: [String]) { state.withLock { $0.late += keys } }

  /// From now on no refusal can be proven.
  func expectUndecided(_ whether: Bool) { state.withLock { $0.expectsUndecided = whether } }

  /// Pushes until it is cancelled.
  func run() async throws {
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for lane in 0..<3 {
          group.addTask { try await self.pushActive(from: lane) }
        }
        group.addTask { try await self.pushStrangers() }
        try await group.waitForAll()
      }
    } catch is CancellationError {}
  }

  private func pushActive(from lane: Int) async throws {
    var number = lane
    while true {
      try Task.checkCancellation()
      number += 7
      let late = state.withLock { $0.late }
      let key = number.isMultiple(of: 3) && !late.isEmpty ? late[number % late.count] : keys[number % keys.count]
      let status = try await node.push(key: key).status
      state.withLock { $0.seen.active[status, default: 0] += 1 }
    }
  }

  private func pushStrangers() async throws {
    while true {
      try Task.checkCancellation()
      let before = state.withLock { $0.expectsUndecided }
      let status = try await node.push(key: "sk_stranger").status
      state.withLock { state in
        state.seen.strangers[status, default: 0] += 1
        if status == 401, before, state.expectsUndecided { state.seen.refusedUnproven += 1 }
      }
    }
  }

  /// Waits until there were enough of them that something could have been seen.
  func come(_ when: String) async throws {
    func total(_ answers: [Int: Int]) -> Int { answers.values.reduce(0, +) }
    let before = seen
    try await eventually("enough is pushed \(when)") {
      let now = seen
      return total(now.active) >= total(before.active) + 100 && total(now.strangers) >= total(before.strangers) + 20
    }
  }
}
