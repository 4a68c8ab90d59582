// Nodes are restarted and added behind a real load balancer under load, and no client notices: none is answered 5xx,
// loses its connection, or has to retry, and no active key is refused.

import RedisFixture
import Testing

struct RollingRestartTests {
  private static let clients = 24

  /// What clients have noticed.
  private func expectNothing(of tally: SteadyLoad.Tally, atLeast floor: Int) {
    print("\(tally.requests) requests: active keys \(tally.valid), unknown keys \(tally.unknown)")
    #expect(tally.failures.isEmpty, "\(tally.failures.count) failures, among them \(tally.failures.prefix(5))")
    #expect(tally.connections == Self.clients, "\(tally.connections) connections for \(Self.clients) clients")
    #expect(tally.requests >= floor, "\(tally.requests) requests are too few to prove anything")
    #expect(tally.unknown[401, default: 0] > floor / 20, "\(tally.unknown)")
  }

  /// What was stored: what clients were told was taken.
  private func expectStored(_ tally: SteadyLoad.Tally, in deployment: Deployment) async throws -> [String] {
    try await eventually(within: .seconds(60), "all that was acknowledged is stored") {
      try Set(deployment.stored().map { String(decoding: $0.body, as: UTF8.self) }).isSuperset(of: tally.acknowledged)
    }
    return try deployment.stored().map { String(decoding: $0.body, as: UTF8.self) }
  }

  @Test(arguments: RecommendedHAProxy.Check.allCases)
  func `no request fails while nodes are restarted and added`(check: RecommendedHAProxy.Check) async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 2_000)
    let worker = try await deployment.startWorker("worker-1")
    // The first starts cold each time.
    let cold = ["--grace", "3s"]
    let arguments = [cold, cold + ["--state-dir", deployment.folder.path("state")]]
    var nodes: [Node] = []
    for index in 0..<2 { nodes.append(try await deployment.startNode("node-\(index + 1)", arguments[index])) }
    for node in nodes { try await node.becomesReady() }
    // The third runs and can't reach Redis yet: for the balancer, which begins by trusting everybody, it is one of three from the start.
    let door = try MovableAddress()
    let third = try await deployment.startNode("node-3", cold + ["--redis", "\(door.endpoint)"])
    nodes.append(third)
    let proxy = try await HAProxy.start {
      try RecommendedHAProxy.configuration(port: $0, nodes: nodes.map(\.addresses), check: check)
    }
    let address = "127.0.0.1:\(proxy.port)"
    let load = SteadyLoad { try await WireConnection.connected(to: address) }

    let tally = try await load.running(connections: Self.clients) {
      try await load.goesOn(for: 300)
      try await eventually("HAProxy takes the third out") {
        try await proxy.opinion(of: "node-3").status.hasPrefix("DOWN")
      }
      #expect(try await proxy.opinion(of: "node-3").requests > 0, "the third was never asked")
      // From here on nothing is retried.
      let tried = proxy.requestsLogged.count
      for index in 0..<2 {
        let old = nodes[index]
        try await load.goesOn(for: 300)
        old.process.terminate()
        try await eventually("HAProxy is told to drain") {
          try await proxy.opinion(of: old.name).status.hasPrefix("DRAIN")
        }
        #expect(try await old.process.waitForExit() == .exited(0), "\(old.process.outputs)")
        try await load.goesOn(for: 300)
        nodes[index] = try await deployment.startNode(old.name, arguments[index], at: old.addresses)
        try await nodes[index].becomesReady()
        try await eventually("HAProxy takes \(old.name) in again") {
          let opinion = try await proxy.opinion(of: old.name)
          return opinion.status == "UP" && opinion.weight == 100
        }
        let before = try await proxy.opinion(of: old.name).requests
        try await eventually("it has its share") { try await proxy.opinion(of: old.name).requests > before + 100 }
      }
      let before = try await proxy.opinion(of: "node-3").requests
      try door.lead(to: deployment.redis)
      try await third.becomesReady()
      try await eventually("the third has its share") {
        try await proxy.opinion(of: "node-3").requests > before + 200
      }
      #expect(proxy.requestsLogged.count == tried, "\(proxy.requestsLogged.dropFirst(tried).prefix(5))")
    }
    expectNothing(of: tally, atLeast: 3_000)
    // Once.
    #expect(try await expectStored(tally, in: deployment).count == tally.acknowledged.count)
    worker.terminate()
    _ = try await worker.waitForExit()
  }

  /// The balancer doesn't notice before it is over: it goes on asking where nobody is, and then a node that knows no key yet.
  @Test
  func `a node that crashes and comes back knowing nothing costs the balancer repetitions and its clients nothing`()
    async throws
  {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 2_000)
    let worker = try await deployment.startWorker("worker-1")
    var nodes: [Node] = []
    for name in ["node-1", "node-2"] { nodes.append(try await deployment.startNode(name)) }
    for node in nodes { try await node.becomesReady() }
    let proxy = try await HAProxy.start {
      try RecommendedHAProxy.configuration(port: $0, nodes: nodes.map(\.addresses))
    }
    let address = "127.0.0.1:\(proxy.port)"
    let load = SteadyLoad { try await WireConnection.connected(to: address) }
    let tally = try await load.running(connections: Self.clients) {
      for index in [0, 1] {
        try await load.goesOn(for: 300)
        nodes[index].process.kill9()
        _ = try await nodes[index].process.waitForExit()
        nodes[index] = try await deployment.startNode(nodes[index].name, at: nodes[index].addresses)
        try await nodes[index].becomesReady()
        let before = try await proxy.opinion(of: nodes[index].name).requests
        try await eventually("it is asked again, and ready") {
          let opinion = try await proxy.opinion(of: nodes[index].name)
          return opinion.status == "UP" && opinion.weight == 100 && opinion.requests > before + 100
        }
      }
    }
    expectNothing(of: tally, atLeast: 1_000)
    #expect(!proxy.requestsLogged.isEmpty, "nothing had to be repeated: nothing was proven")
    // What the node had taken and not answered was sent again, and can be there twice.
    _ = try await expectStored(tally, in: deployment)
    worker.terminate()
    _ = try await worker.waitForExit()
  }
}
