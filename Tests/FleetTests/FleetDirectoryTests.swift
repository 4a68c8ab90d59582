import Fleet
import Hiredis
import RedisClient
import RedisFixture
import Testing

struct FleetDirectoryTests {
  @Test func `what was written is read, with its age by Redis's clock`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      // Its own clock is years behind; nobody asks it.
      let node = Sample.node()
      try await directory.write(node)
      try await directory.write(Sample.worker())
      let reading = try await directory.read()
      #expect(reading.nodes.map(\.report) == [node])
      #expect(reading.workers.map(\.report) == [Sample.worker()])
      #expect(reading.unreadable == [])
      let member = try #require(reading.nodes.first)
      #expect(member.age >= .zero && member.age < .seconds(5))
      #expect(abs(reading.readAt - member.seenAt) < 5)
      #expect(reading.readAt > Sample.now)
      #expect(!member.stopped)
      #expect(member.clashAge == nil)
    }
  }

  @Test func `a fleet of nobody is empty`() async throws {
    try await withClient { _, client in
      let reading = try await FleetDirectory(client: client).read()
      #expect(reading.nodes.isEmpty && reading.workers.isEmpty && reading.unreadable.isEmpty)
    }
  }

  @Test func `a later report takes the place of the earlier one`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      for keys in 1...3 { try await directory.write(Sample.node { $0.keys = keys }) }
      #expect(try await directory.read().nodes.map(\.report.keys) == [3])
    }
  }

  @Test func `members are sorted by the numbers in their names`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      for name in ["node-10", "node-2", "node-1"] { try await directory.write(Sample.node(name)) }
      #expect(try await directory.read().nodes.map(\.report.name) == ["node-1", "node-2", "node-10"])
    }
  }

  @Test func `a node and a worker may have the same name`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await directory.write(Sample.node("a"))
      try await directory.write(Sample.worker("a"))
      let reading = try await directory.read()
      #expect(reading.nodes.count == 1)
      #expect(reading.workers.count == 1)
    }
  }

  @Test func `namespaces don't see each other`() async throws {
    try await withClient { _, client in
      let other = FleetLayout(namespace: try #require(Namespace("other")))
      try await FleetDirectory(client: client, layout: other).write(Sample.node())
      #expect(try await FleetDirectory(client: client).read().nodes.isEmpty)
    }
  }

  @Test func `a last word is noted as such, and the next process's first report isn't`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await directory.write(Sample.node(), stopped: true)
      #expect(try await directory.read().nodes.map(\.stopped) == [true])
      try await directory.write(Sample.node { $0.instance = "next" })
      #expect(try await directory.read().nodes.map(\.stopped) == [false])
    }
  }

  // MARK: Two under one name

  private func write(_ instances: [String], to directory: FleetDirectory) async throws {
    for instance in instances { try await directory.write(Sample.node { $0.instance = instance }) }
  }

  @Test(arguments: [["a", "b"], ["a", "a", "b", "b"], ["a", "b", "c", "d", "e", "f", "g"]])
  func `a process that takes over from one that died is no clash`(instances: [String]) async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await write(instances, to: directory)
      #expect(try await directory.read().nodes.map(\.clashAge) == [nil])
    }
  }

  @Test(arguments: [["a", "b", "a"], ["a", "b", "b", "a"], ["a", "b", "c", "a"], ["a", "b", "c", "d", "e", "a"]])
  func `a process that reports again after another shows that both live`(instances: [String]) async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await write(instances, to: directory)
      let member = try #require(try await directory.read().nodes.first)
      #expect(try #require(member.clashAge) < .seconds(5))
      #expect(member.report.instance == instances.last)
    }
  }

  @Test func `the last word of one of two doesn't hide the other`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await write(["a", "b"], to: directory)
      try await directory.write(Sample.node { $0.instance = "a" }, stopped: true)
      let member = try #require(try await directory.read().nodes.first)
      #expect(!member.stopped)
      #expect(member.report.instance == "b")
    }
  }

  // MARK: Bounds

  @Test func `a silent member stays listed until its time is over, and the others' reports remove it`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client, kept: .milliseconds(300))
      try await directory.write(Sample.node("node-1"))
      try await directory.write(Sample.worker())
      #expect(try await directory.read().nodes.count == 1)
      try await eventually("node-1 is removed") {
        try await directory.write(Sample.worker())
        return try await directory.read().nodes.isEmpty
      }
      let reading = try await directory.read()
      #expect(reading.workers.count == 1)
      #expect(reading.unreadable == [])
      #expect(try await client.execute(RedisCommand("ZCARD", FleetLayout().seen)).integer() == 1)
    }
  }

  @Test func `by default silence of some seconds removes nobody`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await directory.write(Sample.node())
      let day = 86_400_000
      let now = try await directory.read().readAt * 1_000
      for (age, count) in [(day - 60_000, 1), (day + 60_000, 0)] {
        let score = "\(Int64(now) - Int64(age))"
        _ = try await client.execute(RedisCommand("ZADD", FleetLayout().seen, score, "node/node-1")).integer()
        try await directory.write(Sample.worker())
        #expect(try await directory.read().nodes.count == count)
      }
    }
  }

  private func fleet(_ directory: FleetDirectory) async throws -> Set<String> {
    let reading = try await directory.read()
    return Set(reading.nodes.map(\.report.name) + reading.workers.map(\.report.name))
  }

  @Test func `after a day of rolling pods a new node finds its place, and those that live keep theirs`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await directory.write(Sample.node("node-live"))
      for number in 1..<FleetDirectory.limit {
        try await directory.write(Sample.worker("pod-\(number)"), stopped: true)
      }
      try await directory.write(Sample.node("node-live"))
      for number in 1...20 {
        try await directory.write(Sample.node("new-\(number)"))
        let members = try await fleet(directory)
        #expect(members.count == FleetDirectory.limit)
        // Those go first that ended first.
        for name in ["node-live", "new-1", "new-\(number)", "pod-100", "pod-999"] {
          #expect(members.contains(name) == true, "\(name)")
        }
      }
      #expect(try await !fleet(directory).contains("pod-1"))
      let reading = try await directory.read()
      #expect(!reading.isFull && reading.turnedAway == [] && reading.unreadable == [])
    }
  }

  @Test func `where nobody has ended the one that was silent for longest makes room, if that is long`() async throws {
    try await withClient { _, client in
      let short = FleetDirectory(client: client, limit: 3, roomAfter: .milliseconds(300))
      for name in ["a", "b", "c"] { try await short.write(Sample.node(name)) }
      try await eventually("a is silent for long, b and c aren't") {
        for name in ["b", "c"] { try await short.write(Sample.node(name)) }
        do {
          try await short.write(Sample.node("d"))
          return true
        } catch let error as RedisServerError where error.fleetCode == .full {
          return false
        }
      }
      #expect(try await fleet(short) == ["b", "c", "d"])
      // One that ended goes first, however lately that was.
      try await short.write(Sample.node("d"), stopped: true)
      try await short.write(Sample.node("e"))
      #expect(try await fleet(short) == ["b", "c", "e"])
    }
  }

  @Test func `nobody counts as silent for a time in which nobody was heard`() async throws {
    let clock = try await ServerClock()
    try await withClient(RedisServerOptions { $0.clock = clock }) { server, client in
      let directory = FleetDirectory(client: client, limit: 3)
      for name in ["a", "b", "c"] { try await directory.write(Sample.node(name)) }
      // An hour in which Redis was away, or its clock made a step.
      try await server.setClock(ahead: .seconds(3_600))
      #expect(try await directory.read().nodes.allSatisfy(\.isSilent))
      for _ in 1...2 {
        let error = await #expect(throws: RedisServerError.self) { try await directory.write(Sample.node("d")) }
        #expect(error?.fleetCode == .full)
      }
      // From here on all report again, except a.
      for seconds in stride(from: 0, through: 304, by: 4) {
        try await server.setClock(ahead: .seconds(3_600 + seconds))
        for name in ["b", "c"] { try await directory.write(Sample.node(name)) }
      }
      #expect(try await fleet(directory) == ["a", "b", "c"])
      try await directory.write(Sample.node("d"))
      #expect(try await fleet(directory) == ["b", "c", "d"])
    }
  }

  @Test func `members that a full register turns away are listed for as long as they try`() async throws {
    let clock = try await ServerClock()
    try await withClient(RedisServerOptions { $0.clock = clock }) { server, client in
      let directory = FleetDirectory(client: client, limit: 1)
      try await directory.write(Sample.node("a"))
      for _ in 1...2 {
        for number in 1...150 {
          await #expect(throws: RedisServerError.self) { try await directory.write(Sample.worker("w-\(number)")) }
        }
      }
      await #expect(throws: RedisServerError.self) { try await directory.write(Sample.node("b")) }
      var reading = try await directory.read()
      #expect(reading.isFull)
      #expect(reading.turnedAway.first == MemberID(.node, "b"))
      #expect((100...101).contains(reading.turnedAway.count), "their number has a bound")
      // One that ends isn't missed, and is no member.
      try await directory.write(Sample.node("b"), stopped: true)
      reading = try await directory.read()
      #expect(!reading.turnedAway.contains(MemberID(.node, "b")))
      #expect(reading.nodes.map(\.report.name) == ["a"])
      try await server.setClock(ahead: .seconds(11))
      #expect(try await directory.read().turnedAway == [])
      // There is room again: a new member that reports is registered, and no longer missing.
      await #expect(throws: RedisServerError.self) { try await directory.write(Sample.worker("w-150")) }
      try await directory.write(Sample.node("a"), stopped: true)
      try await directory.write(Sample.worker("w-150"))
      #expect(try await directory.read().turnedAway == [])
      #expect(try await fleet(directory) == ["w-150"])
    }
  }

  @Test func `a member that is gone doesn't look live after Redis's clock went back, not even when it is there again`()
    async throws
  {
    let clock = try await ServerClock()
    try await withClient(RedisServerOptions { $0.clock = clock }) { server, client in
      let directory = FleetDirectory(client: client)
      for name in ["gone", "live"] { try await directory.write(Sample.node(name)) }
      // Two under one name: that is over as well.
      try await write(["x", "y", "x"], to: directory)
      try await server.setClock(ahead: .seconds(-3_600))
      #expect(try await directory.read().nodes.allSatisfy { $0.isUndated && $0.isSilent && $0.age == .zero })
      try await directory.write(Sample.node("live"))
      let back = try await directory.read().nodes
      #expect(back.allSatisfy { !$0.isUndated && $0.age < .seconds(5) && $0.clashAge == nil })
      // Redis's clock reaches the time of the last report a second time.
      for ahead in [-3_590.0, -10, 0, 5] {
        try await server.setClock(ahead: .seconds(ahead))
        try await directory.write(Sample.node("live"))
        let silent = try await directory.read().nodes.filter(\.isSilent).map(\.report.name)
        #expect(silent == ["gone", "node-1"], "at \(ahead)")
      }
    }
  }

  @Test func `the number of members is bounded, and those who are in may go on`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client, limit: 2)
      try await directory.write(Sample.node("node-1"))
      try await directory.write(Sample.node("node-2"))
      let error = await #expect(throws: RedisServerError.self) { try await directory.write(Sample.node("node-3")) }
      #expect(error?.fleetCode == .full)
      try await directory.write(Sample.node("node-1") { $0.keys = 5 })
      #expect(try await directory.read().nodes.map(\.report.keys) == [5, 1_000_000])
    }
  }

  @Test func `a report that is too large isn't sent`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      await #expect(throws: ReportTooLarge.self) {
        try await directory.write(Sample.node { $0.reasons = [String(repeating: "x", count: 40_000)] })
      }
      let reading = try await directory.read()
      #expect(reading.nodes.isEmpty)
    }
  }

  @Test func `reports are written and read while Redis is full`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await directory.write(Sample.node { $0.keys = 1 })
      try await client.execute(RedisCommand("CONFIG", "SET", "maxmemory", "1")).ok()
      // The output says that the register is full.
      let refusal = try await client.execute(RedisCommand("SET", "x", "y"))
      #expect(throws: RedisServerError.self) { try refusal.ok() }
      try await directory.write(Sample.node { $0.keys = 2 })
      #expect(try await directory.read().nodes.map(\.report.keys) == [2])
      #expect(try await directory.forget(.node, "node-1"))
    }
  }

  // MARK: Forgetting

  @Test func `a forgotten member is gone, and back with its next report`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      try await directory.write(Sample.node())
      #expect(try await directory.forget(.node, "node-1"))
      #expect(try await !directory.forget(.node, "node-1"))
      #expect(try await directory.read().nodes.isEmpty)
      #expect(try await client.execute(RedisCommand("EXISTS", FleetLayout().marks, FleetLayout().seen)).integer() == 0)
      try await directory.write(Sample.node())
      #expect(try await directory.read().nodes.count == 1)
    }
  }

  // MARK: What others wrote

  @Test func `a report that can't be understood is listed as such, and nothing else is lost`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      let names = ["node-1", "node-2", "node-3", "node-4", "node-5", "node-6", "node-7"]
      for name in names { try await directory.write(Sample.node(name)) }
      let good = String(decoding: try Sample.node("node-2").json(), as: UTF8.self)
      let layout = FleetLayout()
      let changes: [(String, String, String)] = [
        (layout.members, "node/node-1", "not JSON"),
        (layout.members, "node/node-2", good.replacing("\"complete\"", with: "\"perfect\"")),
        (layout.members, "node/node-3", good.replacing("\"sealed\":true", with: "\"sealed\":\"yes\"")),
        (layout.members, "node/node-4", "{}"),
        (layout.members, "node/node-5", String(decoding: try Sample.node("other").json(), as: UTF8.self)),
        (layout.marks, "node/node-6", "{\"seen\":1,\"instance\":\"zz\",\"stopped\":false,\"clash\":0}"),
        (layout.members, "node/ghost", good),
        (layout.marks, "node/noted", "{}"),
        (layout.members, "printer/p", good),
        (layout.members, "node/", good),
      ]
      for (key, field, value) in changes {
        _ = try await client.execute(RedisCommand("HSET", key, field, value)).integer()
      }
      let reading = try await directory.read()
      #expect(reading.nodes.map(\.report.name) == ["node-7"])
      #expect(
        Set(reading.unreadable.map { "\($0.name): \($0.reason)" }) == [
          "node-1: the report isn't JSON",
          "node-2: the report's field completeness.state has an unknown value",
          "node-3: the report's field sealed has an unexpected type",
          "node-4: the report lacks name",
          "node-5: the report belongs to other",
          "node-6: the report and its time are from two instances",
          "ghost: the time of its report is missing",
          "noted: its report is missing; only the time of the report is there",
          "printer/p: it is neither a node nor a worker",
          "node/: it is neither a node nor a worker",
        ])
    }
  }

  @Test func `a note that another hand spoilt is mended by the next report`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      for spoilt in ["", "nonsense", "[]", "3", "null", "{\"instance\":5,\"before\":[],\"clash\":null}"] {
        try await directory.write(Sample.node())
        _ = try await client.execute(RedisCommand("HSET", FleetLayout().marks, "node/node-1", spoilt)).integer()
        try await directory.write(Sample.node())
        let reading = try await directory.read()
        #expect(reading.nodes.count == 1, "\(spoilt)")
        #expect(reading.nodes.first?.clashAge == nil, "\(spoilt)")
      }
    }
  }

  @Test func `a failed read is an error and not an empty fleet`() async throws {
    try await withClient { _, client in
      try await client.execute(RedisCommand("SET", FleetLayout().members, "x")).ok()
      await #expect(throws: RedisServerError.self) { try await FleetDirectory(client: client).read() }
      await #expect(throws: RedisServerError.self) { try await FleetDirectory(client: client).write(Sample.node()) }
    }
  }
}
