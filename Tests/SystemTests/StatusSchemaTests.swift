import Foundation
import RedisFixture
import SchemaFixture
import Testing

/// What running programs print for other programs, held against the schemas that are documented.
struct StatusSchemaTests {
  @Test func `a node's status and sync-status's JSON are as their schemas say, before there are keys and after`()
    async throws
  {
    let nodeSchema = try JSONSchema(ofCatalogue: "node-status.schema.json")
    let fleetSchema = try JSONSchema(ofCatalogue: "sync-status.schema.json")
    let deployment = try await Deployment()
    let nodes = [
      try await deployment.startNode("node-1", ["--spool", deployment.folder.path("spool")]),
      try await deployment.startNode("node-2"),
    ]
    let worker = try await deployment.startWorker("worker-1")

    func check(_ moment: String, expecting status: RedisFixture.ExitStatus) async throws {
      for node in nodes {
        for path in ["/status", "/readyz"] {
          let answer = try await node.get(path)
          #expect(try nodeSchema.problems(in: Data(answer.body.utf8)) == [], "\(moment): \(node.name) \(path)")
        }
      }
      let run = try await deployment.run("sync-status", ["--json"], expecting: status)
      let text = run.standardOutput.text
      #expect(try fleetSchema.problems(in: Data(text.utf8)) == [], "\(moment)")
      for name in ["node-1", "node-2", "worker-1"] { #expect(text.contains("\"name\" : \"\(name)\""), "\(moment)") }
    }

    func report() async throws {
      try await eventually("all have reported") {
        let text = try await deployment.run("sync-status", ["--json"], expecting: nil).standardOutput.text
        return ["node-1", "node-2", "worker-1"].allSatisfy { text.contains("\"name\" : \"\($0)\"") }
      }
    }
    try await report()
    try await check("without a key store", expecting: .exited(1))

    try await deployment.publish(keys: 10)
    for node in nodes { try await node.becomesReady() }
    #expect(try await nodes[0].push(key: Deployment.key(1)).status == 202)
    #expect(try await nodes[0].push(key: "unknown").status == 401)
    try await eventually("it is stored") { try deployment.stored().count == 1 }
    try await deployment.run("sync-status", ["wait", "--count", "2", "--timeout", "60"])
    try await check("in sync", expecting: .exited(0))

    try await deployment.redis.kill9()
    for node in nodes {
      try await eventually("\(node.name) notices that Redis is unreachable") {
        try await node.get("/status").body.contains("\"state\" : \"away\"")
      }
      #expect(try nodeSchema.problems(in: Data(try await node.get("/status").body.utf8)) == [], "\(node.name)")
    }
    let run = try await deployment.run("sync-status", ["--json"], expecting: .exited(2))
    #expect(try fleetSchema.problems(in: Data(run.standardOutput.text.utf8)) == [])
    #expect(worker.status == nil)
  }
}
