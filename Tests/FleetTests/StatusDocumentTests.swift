import Fleet
import Foundation
import KeyReplica
import Testing

struct StatusDocumentTests {
  @Test func `the document has the verdict, what is wrong, and every fact`() throws {
    let facts = Sample.facts(
      nodes: [Sample.member(Sample.node()), Sample.member(Sample.node("node-2"), age: 14)],
      unreadable: [UnreadableMember(kind: nil, name: "x", reason: "it is neither a node nor a worker")])
    let node = String(decoding: try Sample.node().json(), as: UTF8.self)
    let node2 = String(decoding: try Sample.node("node-2").json(), as: UTF8.self)
    let worker = String(decoding: try Sample.worker().json(), as: UTF8.self)
    #expect(
      try StatusDocument(facts, FleetVerdict(facts)).json(pretty: false) == """
        {"error":null,"exit_code":1,"nodes":[\
        {"age_seconds":0.5,"in_sync":true,"lacks":[],"live":true,"report":\(node),"seen_at":1699999999.5,"stopped":false},\
        {"age_seconds":14,"in_sync":false,"lacks":["has been silent for 14 s"],"live":false,"report":\(node2),\
        "seen_at":1699999986,"stopped":false}],\
        "nodes_expected":2,"nodes_in_sync":1,\
        "problems":[{"member":"node-2","severity":"out_of_sync","text":"node-2 has been silent for 14 s"},\
        {"member":"x","severity":"note","text":"the member x can't be read (another Sluice version?): it is neither a node nor a worker"}],\
        "queue":{"claimed":64,"dead":0,"dead_bytes":0,"later":2,"oldest_seconds":1.5,"pending":17,"shards_away":0},\
        "queue_shards":[{"claimed":64,"dead":0,"dead_bytes":0,"error":null,"later":2,"oldest_seconds":1.5,"pending":17,\
        "redis":"redis://h:6379","shard":0}],"read_at":1700000000,\
        "redis":{"append_only_file":true,"eviction_policy":"noeviction","limit_bytes":4294967296,\
        "program":"Redis","role":"master",\
        "saving_fails":false,"server":null,"used_bytes":1073741824,"version":"7.0.15"},\
        "register":{"full":false,"limit":1000,"turned_away":[]},\
        "store":{"confirmed_unknown":0,"digest":"00000000000000000000000000000000","epoch":"e1","id":"e1","keys":1000000,"name":null,"sealed":true,\
        "source":{"age_seconds":null,"marked_at":null,"max_age_seconds":null,"within_bound":true},"version":1000100},\
        "unreadable":[{"kind":null,"name":"x","reason":"it is neither a node nor a worker"}],\
        "verdict":"not_in_sync","workers":[\
        {"age_seconds":1,"live":true,"report":\(worker),"seen_at":1699999999,"stopped":false}]}

        """)
  }

  private func object(_ document: StatusDocument, pretty: Bool = false) throws -> [String: Any] {
    try object(document.json(pretty: pretty))
  }

  private func object(_ text: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  @Test func `a fleet in sync has exit code 0`() throws {
    let facts = Sample.facts()
    let object = try object(StatusDocument(facts, FleetVerdict(facts)), pretty: true)
    #expect(object["verdict"] as? String == "in_sync")
    #expect(object["exit_code"] as? Int == 0)
    #expect((object["problems"] as? [Any])?.isEmpty == true)
  }

  @Test func `a fleet in sync in which something else is wrong has exit code 1, and says that it is in sync`() throws {
    let facts = Sample.facts(nodes: [Sample.member(Sample.node { $0.queue.state = .away })])
    let object = try object(StatusDocument(facts, FleetVerdict(facts)), pretty: true)
    #expect(object["verdict"] as? String == "in_sync_not_well")
    #expect(object["exit_code"] as? Int == 1)
    #expect((object["problems"] as? [[String: Any]])?.map { $0["severity"] as? String } == ["wrong"])
  }

  @Test func `what isn't known is null`() throws {
    let facts = Sample.facts {
      $0.store = nil
      $0.storeAfter = nil
      $0.onlyShard = .unreadable("x")
      $0.redis = .unreadable("x")
    }
    let object = try object(StatusDocument(facts, FleetVerdict(facts)))
    for name in ["store", "queue", "redis"] { #expect(object[name] is NSNull) }
    #expect(((object["nodes"] as? [[String: Any]])?.first)?["in_sync"] as? Bool == false)
  }

  @Test func `of several shards each is told, those that are away with the reason`() throws {
    let facts = Sample.facts { $0.shards = Sample.shards }
    let object = try object(StatusDocument(facts, FleetVerdict(facts)))
    let queue = try #require(object["queue"] as? [String: Any])
    #expect(queue["pending"] as? Int == 740)
    #expect(queue["claimed"] as? Int == 5)
    #expect(queue["oldest_seconds"] as? Double == 9)
    #expect(queue["shards_away"] as? Int == 1)
    let shards = try #require(object["queue_shards"] as? [[String: Any]])
    #expect(shards.map { $0["shard"] as? Int } == [0, 1, 2])
    #expect(shards.map { $0["pending"] as? Int } == [40, nil, 700])
    #expect(shards[1]["pending"] is NSNull)
    #expect(shards[1]["error"] as? String == "not connected to Redis")
    #expect(shards[1]["redis"] as? String == "redis://h2:6379")
  }

  @Test func `a fleet that can't be told says why, and has no verdict on anything`() throws {
    let object = try object(UnknownStatusDocument(reason: "not connected to Redis").json(pretty: false))
    #expect(object["verdict"] as? String == "unknown")
    #expect(object["exit_code"] as? Int == 2)
    #expect(object["error"] as? String == "not connected to Redis")
    #expect(object["nodes"] == nil)
  }
}
