// Keys that are put and revoked during the faults. The publisher's answer counts: a key that it has put is used at
// once, on both nodes, and must not be refused. A key that it has revoked must be refused as soon as the nodes are in
// sync.

import Foundation
import RedisFixture

/// The publisher's work during a round.
struct KeyChanges {
  let deployment: Deployment
  let keys: KeyRing
  let clients: Clients
  let ledger: Ledger
  let timeline: Timeline
  /// The round's name, unique in the run.
  let name: String

  /// What was done, for the questions afterwards.
  struct Done: Sendable {
    var put: [APIKey] = []
    var revoked: [APIKey] = []
    /// What the publisher couldn't confirm, the last of each key: whether it was a put.
    var unconfirmed: [APIKey: Bool] = [:]
  }

  /// Goes on until the body says that it is enough.
  func run(_ chance: Chance, until isOver: () -> Bool) async throws -> Done {
    var chance = chance
    var done = Done()
    var number = 0
    while !isOver() {
      number += 1
      switch chance.number(in: 1...10) {
      case 1...3 where !done.put.isEmpty:
        let key = done.put.remove(at: chance.number(in: 0...done.put.count - 1))
        try await revoke(key, &done)
      case 4 where !done.revoked.isEmpty:
        let key = done.revoked.remove(at: chance.number(in: 0...done.revoked.count - 1))
        try await put(key, &done, &chance)
      default:
        try await put(APIKey(secret: "sk_new_\(name)_\(number)", account: "account-new"), &done, &chance)
      }
      try await Task.sleep(for: chance.duration(in: .milliseconds(50) ... .milliseconds(400)))
    }
    return done
  }

  /// What the publisher couldn't confirm is done again until it is, as its message says: a failover may have lost it after
  /// a node had seen it. Such a key counts as vanished, and the node isn't in sync before somebody has said what is right.
  func finish(_ done: inout Done, _ chance: Chance, within limit: Duration) async throws {
    var chance = chance
    let deadline = ContinuousClock.now + limit
    while let (key, wasPut) = done.unconfirmed.min(by: { $0.key.secret < $1.key.secret }) {
      guard .now < deadline else { throw NeverHappened(description: "key-publisher never confirmed \(key.secret)") }
      if wasPut { try await put(key, &done, &chance) } else { try await revoke(key, &done) }
    }
  }

  private func revoke(_ key: APIKey, _ done: inout Done) async throws {
    done.unconfirmed[key] = false
    guard try await change(key, ["revoke", "--key", key.secret]) else { return }
    done.unconfirmed[key] = nil
    keys.set(key, .blocked(since: .now))
    done.revoked.append(key)
  }

  private func put(_ key: APIKey, _ done: inout Done, _ chance: inout Chance) async throws {
    done.unconfirmed[key] = true
    guard try await change(key, ["put", "--reactivate", "--account", key.account, "--key", key.secret]) else { return }
    done.unconfirmed[key] = nil
    keys.set(key, .active)
    done.put.append(key)
    for node in 0..<deployment.nodes.count {
      let payload = try Payload(name: "\(name)-\(key.secret)-\(node)-\(chance.bits())", &chance)
      _ = await clients.pushOnce(payload, key, to: node)
    }
  }

  /// False where the publisher didn't answer that it is done: then nobody knows.
  private func change(_ key: APIKey, _ arguments: [String]) async throws -> Bool {
    keys.set(key, .unsure)
    do {
      let process = try await deployment.run(
        "key-publisher", arguments + ["--confirm-wait", "1s"], within: .seconds(15))
      if process.status == .exited(0) {
        timeline.note("key-publisher: \(arguments[0]) \(key.secret)")
        return true
      }
      timeline.note("key-publisher couldn't \(arguments[0]) \(key.secret): \(process.standardError.text)")
    } catch let error as NeverHappened {
      ledger.violation("key-publisher \(arguments[0]) didn't end: \(error)")
    }
    return false
  }
}
