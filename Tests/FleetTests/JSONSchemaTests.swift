// The documents that programs read, held against the schemas that the documentation has of them; and the validator itself.

import Fleet
import Foundation
import KeyReplica
import SchemaFixture
import Testing

struct JSONSchemaTests {
  private static let node = "node-status.schema.json"
  private static let fleet = "sync-status.schema.json"

  @Test func `a node's report is as its schema says`() throws {
    let schema = try JSONSchema(ofCatalogue: Self.node)
    let changes: [(inout NodeReport) -> Void] = [
      { _ in },
      {
        $0.spool = Sample.spool
        $0.connections = .init(open: 3, limit: 749, evicted: 2, descriptorLimit: 1_024)
        $0.queue.shards = [.init(shard: 1, redis: "redis://h", admits: false, overLimit: "memory")]
        $0.refusalsBlocked = "x"
        $0.registrationError = "x"
        $0.source = .init(markedAt: 1, ageSeconds: 2.5, maxAgeSeconds: 60, proveAgainst: .source, stale: true)
        $0.version = .max
      },
      {
        $0.sealed = nil
        $0.accounts = nil
        $0.recentKeys = nil
        $0.source = .init(markedAt: nil, ageSeconds: nil, maxAgeSeconds: nil, proveAgainst: .store, stale: false)
        $0.storeVersion = nil
        $0.epoch = nil
        $0.freshnessSeconds = nil
        $0.queue.durability = nil
        $0.spool = Sample.spool
        $0.spool?.oldestSeconds = nil
        $0.spool?.setAside = nil
        $0.spool?.setAsideBytes = nil
      },
    ]
    for (index, change) in changes.enumerated() {
      #expect(try schema.problems(in: Data(Sample.node("node-1", change).json())) == [], "\(index)")
    }
  }

  @Test func `the fleet's document is as its schema says`() throws {
    let schema = try JSONSchema(ofCatalogue: Self.fleet)
    let unreadable = [UnreadableMember(kind: nil, name: "x", reason: "y"), .init(kind: .node, name: "x", reason: "y")]
    let changes: [(inout FleetFacts) -> Void] = [
      { _ in },
      {
        $0.store = nil
        $0.storeAfter = nil
        $0.onlyShard = .unreadable("x")
        $0.redis = .unreadable("x")
      },
      {
        $0.shards = Sample.shards
        $0.fleet.unreadable = unreadable
        $0.fleet.turnedAway = [MemberID(.node, "node-9"), MemberID(.worker, "worker-9")]
        $0.fleet.nodes[0].isUndated = true
        $0.fleet.workers[0].isUndated = true
        $0.fleet.workers[0].report.lastError = "x"
      },
      { $0.fleet.nodes[0].report.queue.state = .away },
      { $0.store?.source = SourceMark(moment: 1, maxAge: .seconds(60), readAt: 2) },
      { $0 = FleetFacts(store: nil, storeAfter: nil, fleet: $0.fleet, shards: [], redis: $0.redis) },
    ]
    for (index, change) in changes.enumerated() {
      let facts = Sample.facts(change)
      let text = try StatusDocument(facts, FleetVerdict(facts)).json(pretty: false)
      #expect(try schema.problems(in: Data(text.utf8)) == [], "\(index)")
    }
    let unknown = try UnknownStatusDocument(reason: "x").json(pretty: true)
    #expect(try schema.problems(in: Data(unknown.utf8)) == [])
  }

  @Test(arguments: [node, fleet, "queue-status.schema.json", "dead-letter.schema.json"])
  func `an object of the schemas has exactly the fields that are documented, all of them always`(name: String) throws {
    var objects = 0
    try JSONSchema(ofCatalogue: name).forEachSchema { schema, place in
      guard let properties = schema["properties"]?.object else { return }
      objects += 1
      #expect(schema["additionalProperties"] == .bool(false), "\(place)")
      #expect(Set(schema["required"]?.array?.compactMap(\.string) ?? []) == Set(properties.keys), "\(place)")
    }
    #expect(objects > (name.hasPrefix("dead-letter") ? 0 : 5))
  }

  @Test(arguments: [
    ("\"spool\":null,", "", "$: lacks spool"), ("{", "{\"a\":1,", "$.a: not allowed"),
    ("\"ready\":true", "\"ready\":1", "$.ready: expected boolean, got integer"),
    ("\"keys\":1000000", "\"keys\":1.5", "$.keys: expected integer, got number"),
    ("\"keys\":1000000", "\"keys\":-1", "$.keys: expected at least 0.0, got -1.0"),
    ("\"sealed\":true", "\"sealed\":\"yes\"", "$.sealed: expected boolean or null, got string"),
    ("00000000000000aa", "AA", "$.instance: expected a match of ^[0-9a-f]{16}$, got AA"),
    ("\"401\":5", "\"401\":\"5\"", "$.answers.401: expected integer, got string"),
    ("\"shard\":0", "\"shard\":null", "$.queue.shards[0].shard: expected integer, got null"),
    ("\"spool\":null", "\"spool\":7", "anyOf 0: $.spool: expected object, got integer"),
  ])
  func `what differs from the schema is found`(text: String, changed: String, problem: String) throws {
    let report = String(decoding: try Sample.node().json(), as: UTF8.self)
    let wrong = report.replacing(text, with: changed, maxReplacements: 1)
    #expect(wrong != report)
    let problems = try JSONSchema(ofCatalogue: Self.node).problems(in: Data(wrong.utf8))
    #expect(problems.contains(problem), "\(problems)")
  }

  @Test func `a state or a verdict that the schema doesn't name is found`() throws {
    let facts = Sample.facts()
    let text = try StatusDocument(facts, FleetVerdict(facts)).json(pretty: false)
    for value in ["\"in_sync\"", "\"complete\""] {
      let wrong = text.replacing(value, with: "\"fine\"", maxReplacements: 1)
      #expect(wrong != text)
      #expect(try !JSONSchema(ofCatalogue: Self.fleet).problems(in: Data(wrong.utf8)).isEmpty, "\(value)")
    }
  }

  @Test func `a keyword that the validator doesn't know is an error, wherever it is`() throws {
    for schema in [
      #"{"maximum":1}"#, #"{"properties":{"a":{"maximum":1}}}"#, #"{"items":{"maximum":1}}"#,
      #"{"additionalProperties":{"maximum":1}}"#, #"{"$defs":{"a":{"maximum":1}}}"#, #"{"oneOf":[{"maximum":1}]}"#,
      #"{"anyOf":[{"maximum":1}]}"#, #"{"$ref":"b"}"#,
    ] {
      #expect(throws: JSONSchema.Unusable.self, "\(schema)") {
        _ = try JSONSchema("a") { Data(($0 == "a" ? schema : #"{"maximum":1}"#).utf8) }
      }
    }
    #expect(throws: JSONSchema.Unusable.self) {
      _ = try JSONSchema("a") { _ in Data(##"{"$ref":"#/$defs/b"}"##.utf8) }.problems(in: Data("1".utf8))
    }
  }

  @Test func `exactly one choice of oneOf has to match`() throws {
    let schema = try JSONSchema("a") { _ in Data(#"{"oneOf":[{"type":"number"},{"const":1},{"type":"null"}]}"#.utf8) }
    #expect(try schema.problems(in: Data("2".utf8)) == [])
    #expect(try schema.problems(in: Data("1".utf8)) == ["$: 2 choices of oneOf match"])
    #expect(try schema.problems(in: Data("true".utf8)).count == 3)
  }
}
