import Foundation
import RedisFixture
import Testing

/// Keys that end by themselves, as clients see it.
@Suite(.timeLimit(.minutes(2))) struct ExpiryTests {
  @Test func `a key is refused by every node from its end on, and works again with a later one`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let nodes = [try await deployment.startNode("node-1"), try await deployment.startNode("node-2")]
    for node in nodes { try await node.becomesReady() }
    let key = Deployment.key(7)
    let put = ["put", "--key", key, "--account", "account-7", "--expires-at"]
    // Redis runs on this machine, so its clock is the test's.
    let end = Int(Date().timeIntervalSince1970) + 4
    try await deployment.run("key-publisher", put + ["\(end)"])
    for node in nodes { #expect(try await node.push(key: key).status == 202) }
    for node in nodes {
      try await eventually(within: .seconds(10), "\(node.name) refuses the key") {
        let answer = try await node.push(key: key)
        let time = Date().timeIntervalSince1970
        if answer.status == 202 { return false }
        #expect(answer.status == 403 && answer.member("error") == "expired_key", "\(answer.status) \(answer.body)")
        #expect(answer.body.contains("\"proof\"") && time >= Double(end))
        return true
      }
      #expect(try await node.push(key: Deployment.key(8)).status == 202)
    }
    // A repeated put without an expiry leaves it.
    try await deployment.run("key-publisher", ["put", "--key", key, "--account", "account-7"])
    #expect(try await nodes[0].push(key: key).status == 403)
    try await deployment.run("key-publisher", put + ["never"])
    for node in nodes {
      try await eventually("\(node.name) admits the key again") { try await node.push(key: key).status == 202 }
    }
  }

  @Test func `a node that is restarted with its state file knows which keys have expired`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let state = ["--state-dir", deployment.folder.path("state")]
    var node = try await deployment.startNode("node-1", state)
    try await node.becomesReady()
    let key = Deployment.key(7)
    let past = Int(Date().timeIntervalSince1970) - 10
    try await deployment.run(
      "key-publisher", ["put", "--key", key, "--account", "account-7", "--expires-at", "\(past)"])
    try await eventually("the node refuses the key") { try await node.push(key: key).status == 403 }
    node.process.terminate()
    _ = try await node.process.waitForExit()
    node = try await deployment.startNode("node-1", state)
    try await node.becomesReady()
    #expect(try await node.push(key: key).member("error") == "expired_key")
    #expect(try await node.push(key: Deployment.key(8)).status == 202)
  }
}
