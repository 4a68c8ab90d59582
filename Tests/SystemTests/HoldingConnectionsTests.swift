// Clients that use up connections of a real node, on its push port with a good key and on its admin port.

import ClientAddress
import Fleet
import Foundation
import RedisFixture
import Testing

struct HoldingConnectionsTests {
  private func push(key: Int) -> String {
    "POST /v1/x HTTP/1.1\r\nHost: h\r\nX-API-Key: \(Deployment.key(key))\r\nContent-Length: 2\r\n\r\n{}"
  }

  @Test func `one key that holds all connections keeps nobody out`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1", ["--max-connections", "200"])
    try await node.becomesReady()
    // Of another account, and idle from before: it isn't the one that makes room.
    let agent = try await WireConnection.connected(to: node.push, from: "127.0.0.9")
    agent.send(push(key: 3))
    #expect(try await agent.answer().status == 202)
    var holders: [WireConnection] = []
    for index in 0..<199 {
      let holder = try await WireConnection.connected(to: node.push, from: "127.0.0.\(2 + index % 5)")
      holder.send(push(key: 1))
      #expect(try await holder.answer().status == 202)
      holders.append(holder)
    }
    let report = try JSONDecoder().decode(NodeReport.self, from: Data(try await node.get("/status").body.utf8))
    #expect(report.connections?.open == 200 && report.connections?.evicted == 0)

    var fresh: [WireConnection] = []
    // All at once: while they haven't shown their key they are no reason to close one another.
    for _ in 0..<50 { fresh.append(try await WireConnection.connected(to: node.push)) }
    for client in fresh { client.send(push(key: 2)) }
    for client in fresh { #expect(try await client.answer().status == 202) }
    // Those that had been idle longest have made room, with an end and no reset; all others go on.
    for holder in holders.prefix(50) { #expect(try await holder.ending().ending == .closed) }
    for client in [agent] + holders.dropFirst(50) + fresh {
      client.send(push(key: 1))
      #expect(try await client.answer().status == 202)
    }
    let metrics = try await node.get("/metrics").body
    #expect(metrics.contains("sluice_connections_closed_total{listener=\"push\",reason=\"evicted_idle\"} 50\n"))
  }

  @Test func `operators are answered while others send thousands of requests ahead`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10)
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let usual = try node.process.peakBytes()
    let ahead = String(repeating: "GET /n HTTP/1.1\r\nHost:a\r\n\r\n", count: 2_500)
    var silent: [WireConnection] = []
    // With those below fewer than the listener's 64, so that one that is still closing keeps no other out.
    for _ in 0..<56 {
      let client = try await WireConnection.connected(to: node.admin, from: "127.0.0.2", reads: false)
      client.send(ahead)
      silent.append(client)
    }
    var reading: [WireConnection] = []
    for _ in 0..<5 {
      let client = try await WireConnection.connected(to: node.admin, from: "127.0.0.2")
      client.send(ahead)
      reading.append(client)
    }
    var slowest = Duration.zero
    for _ in 0..<20 {
      let begun = ContinuousClock.now
      let client = try await WireConnection.connected(to: node.admin)
      client.send("GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      #expect(try await client.answer(within: .seconds(30)).status == 200)
      slowest = max(slowest, ContinuousClock.now - begun)
    }
    #expect(slowest < .seconds(10), "\(slowest)")
    for client in reading {
      for _ in 0..<50 { #expect(try await client.answer().status == 404) }
    }
    let most = try node.process.peakBytes()
    #expect(most - usual < 24 << 20, "\(most) bytes, \(usual) before")
    for client in silent + reading { client.close() }
  }
}
