import CompressionFixture
import Fleet
import Foundation
import GRDB
import IngestQueue
import IngestWorker
import NIOCore
import QueueFixture
import RedisFixture
import Testing

/// The program itself, the way it runs in production.
struct WorkerProcessTests {
  private func start(
    _ bench: WorkBench, name: String, lease: String = "2s", _ arguments: [String] = [],
    environment: [String: String] = [:]
  ) async throws -> ServiceProcess {
    try await ServiceProcess.start(
      "ingest-worker",
      ["--redis", "\(bench.server.endpoint)", "--name", name, "--sink", "sqlite:\(bench.path)", "--lease", lease]
        + arguments, environment: environment)
  }

  @Test func `it stores ten megabytes of random bytes as they are, and reports to the fleet`() async throws {
    try await WorkBench.with { bench in
      var generator = SeededGenerator.announced()
      let random = (0..<(10 << 20)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
      try await bench.push([0])
      try await bench.push([1], payload: ByteBuffer(bytes: random))
      try await bench.push([2])
      let process = try await start(bench, name: "w1")
      try await bench.untilEmpty()
      #expect(try await Stored.rows(bench.path).map(\.body.count) == [7, random.count, 7])
      #expect(try await Stored.rows(bench.path)[1].body.elementsEqual(random))
      let directory = FleetDirectory(client: bench.client)
      try await eventually("the fleet knows of it") {
        let member = try await directory.read().workers.first
        return member?.report.name == "w1" && member?.report.stored == 3 && member?.report.state == .idle
      }
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0))
      let member = try #require(try await directory.read().workers.first)
      #expect(member.stopped)
      #expect(member.report.sink == "sqlite:\(bench.path)")
    }
  }

  @Test func `bodies in every format are stored decoded, and what was undone is noted`() async throws {
    try await WorkBench.with { bench in
      let text = #"{"event":"deploy","note":"café"}"#
      for (number, format) in Compression.Format.allCases.enumerated() {
        var header = EnvelopeHeader.numbered(number)
        header.contentEncoding = format.rawValue
        try await bench.push([header], payload: ByteBuffer(bytes: format.compress(text.utf8)))
      }
      let process = try await start(bench, name: "w1")
      try await bench.untilEmpty()
      let rows = try await Stored.rows(bench.path)
      #expect(rows.map { String(decoding: $0.body, as: UTF8.self) } == Array(repeating: text, count: 4))
      #expect(rows.map(\.undone) == ["gzip", "zlib", "zstd", "br"])
      #expect(try await bench.state().dead == 0)
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0))
    }
  }

  @Test func `payloads that are large only once they are decoded cost a bounded part of memory`() async throws {
    try await WorkBench.with { bench in
      let body = try Compression.gzip([UInt8](repeating: 0, count: 1 << 20), times: 60)
      let process = try await ServiceProcess.start(
        "ingest-worker",
        [
          "--redis", "\(bench.server.endpoint)", "--name", "w1", "--sink", "none:", "--max-ratio", "100000", "--lanes",
          "4",
        ])
      try await bench.push([0])
      try await bench.untilEmpty()
      let before = try Self.mostMemory(of: process)
      let headers = (1...40).map { number in
        var header = EnvelopeHeader.numbered(number)
        header.contentEncoding = "gzip"
        return header
      }
      try await bench.push(headers, payload: ByteBuffer(bytes: body))
      try await bench.untilEmpty(within: .seconds(120))
      // 2.4 GiB in all. The room is for 192 MiB, and an array that grows is there twice for a moment.
      let more = try Self.mostMemory(of: process) - before
      #expect(more < 480 << 20, "\(more >> 20) MiB")
      #expect(try await bench.state().dead == 0)
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0))
    }
  }

  @Test func `a gigabyte of zeros in each format becomes a dead letter, and takes little memory`() async throws {
    try await WorkBench.with { bench in
      let process = try await start(
        bench, name: "w1", ["--decoded-bytes", "1_000_000_000"], environment: ["SLUICE_MAX_RATIO": "20"])
      try await bench.push([0])
      try await eventually("the first is stored") { try await Stored.count(bench.path) == 1 }
      let before = try Self.mostMemory(of: process)
      for (number, format) in Compression.Format.allCases.enumerated() {
        var header = EnvelopeHeader.numbered(number + 1)
        header.contentEncoding = format.rawValue
        let bomb = try format.compress([UInt8](repeating: 0, count: 1 << 20), times: 1_024)
        try await bench.push([header], payload: ByteBuffer(bytes: bomb))
      }
      try await bench.untilEmpty()
      let reasons = try await bench.deadLetters().map(\.reason)
      #expect(reasons.count == 4 && reasons.allSatisfy { $0.contains("the limit is 20 times its size") }, "\(reasons)")
      // At most 20 MiB come out of the largest, 1 MiB of gzip; an array that grows is there twice for a moment.
      #expect(try Self.mostMemory(of: process) - before < 128 << 20)
      try await bench.push([9])
      try await eventually("it works on") { try await Stored.count(bench.path) == 2 }
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0))
    }
  }

  /// The most bytes that the process ever had in memory at once.
  private static func mostMemory(of process: ServiceProcess) throws -> Int {
    let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
    return try #require(Int(line.filter(\.isNumber))) << 10
  }

  @Test func `killed with batches in hand it loses nothing: another one finishes them`() async throws {
    try await WorkBench.with { bench in
      let victim = try await start(bench, name: "victim", ["--batch", "50"])
      try await eventually("the victim looks for work") { try await bench.state().workers.count == 1 }
      // While another process holds the file's lock, the worker keeps its claimed batches.
      let lock = try SinkLock(bench.path)
      try await bench.push(0..<500)
      try await eventually("the victim has batches in hand") { try await bench.state().claimed == 100 }
      victim.kill9()
      _ = try await victim.waitForExit()
      try lock.release()
      #expect(try await Stored.count(bench.path) == 0)
      let heir = try await start(bench, name: "heir")
      try await eventually("all is stored") { try await Stored.count(bench.path) == 500 }
      try await bench.untilEmpty()
      #expect(try await bench.state().dead == 0)
      #expect(try await bench.state().failing == 0)
      heir.terminate()
      #expect(try await heir.waitForExit() == .exited(0))
    }
  }

  @Test func `a payload over which a worker dies three times is a dead letter, and its neighbours are stored`()
    async throws
  {
    try await WorkBench.with { bench in
      let poison = EnvelopeHeader.numbered(10)
      // The sink never comes back from this one row.
      try await SQLiteSink(path: bench.path).close()
      try await Stored.write(bench.path) { db in
        try db.execute(
          sql: """
            CREATE VIEW forever AS WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
              SELECT n FROM numbers;
            CREATE TRIGGER poison BEFORE INSERT ON payloads WHEN NEW.id = '\(poison.id)'
              BEGIN SELECT count(*) FROM forever; END
            """)
      }
      try await bench.push(0..<21)
      var lives: Set<String> = []
      for death in 1...3 {
        let victim = try await start(bench, name: "w1", lease: "1s")
        try await eventually("life \(death) has the poison in hand") {
          for claim in try await bench.state().claims where !lives.contains(claim.instance) {
            guard try await bench.claimed(claim).contains(10) else { continue }
            lives.insert(claim.instance)
            return true
          }
          return false
        }
        victim.kill9()
        #expect(try await victim.waitForExit() == .killed(signal: SIGKILL))
        #expect(try await bench.state().dead == 0)
      }
      #expect(lives.count == 3)
      let survivor = try await start(bench, name: "w1", lease: "1s")
      try await eventually("the poison is a dead letter") { try await bench.state().dead == 1 }
      try await bench.untilEmpty()
      let letter = try #require(try await bench.deadLetters().first)
      #expect(letter.reason == "worker died 3 times")
      #expect(letter.deaths == 3)
      #expect(letter.attempts == 0)
      #expect(letter.worker == "w1")
      #expect(try Envelope(letter.element).header == poison)
      #expect(letter.firstAt < letter.diedAt)
      #expect(try await Stored.count(bench.path) == 20)
      #expect(try await bench.state().failing == 0)
      survivor.terminate()
      #expect(try await survivor.waitForExit() == .exited(0))
    }
  }

  @Test func `told to end with SIGTERM while the sink is locked, it puts back what it has and ends with 0`()
    async throws
  {
    try await WorkBench.with { bench in
      let process = try await start(bench, name: "w1", ["--drain", "100ms", "--batch", "100"])
      try await eventually("it looks for work") { try await bench.state().workers.count == 1 }
      let lock = try SinkLock(bench.path)
      try await bench.push(0..<300)
      try await eventually("it has batches in hand") { try await bench.state().claimed == 200 }
      process.terminate()
      #expect(try await process.waitForExit(within: .seconds(10)) == .exited(0), "\(process.outputs)")
      #expect(Set(try await bench.pending()) == Set(0..<300))
      let state = try await bench.state()
      #expect(state.claims.isEmpty)
      #expect(state.failing == 0)
      try lock.release()
    }
  }

  @Test func `of two with one name the elder ends with 1 and says why`() async throws {
    try await WorkBench.with { bench in
      let elder = try await start(bench, name: "same")
      try await eventually("the elder is on the list") { try await bench.state().workers.count == 1 }
      let younger = try await start(bench, name: "same")
      let status = try await elder.waitForExit()
      #expect(status == .exited(1))
      try await elder.waitForLine(containing: "two workers run under the name \"same\"")
      try await bench.push(0..<10)
      try await eventually("the younger works on") { try await Stored.count(bench.path) == 10 }
      younger.terminate()
      #expect(try await younger.waitForExit() == .exited(0))
    }
  }

  @Test func `for measuring, the sink none: throws everything away`() async throws {
    try await WorkBench.with { bench in
      try await bench.push(0..<2_000)
      let process = try await ServiceProcess.start(
        "ingest-worker", ["--redis", "\(bench.server.endpoint)", "--name", "w1", "--sink", "none:"])
      try await bench.untilEmpty()
      #expect(try await bench.state().done == 2_000)
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0))
    }
  }

  @Test func `every option is taken from the environment too`() async throws {
    try await WorkBench.with { bench in
      let process = try await ServiceProcess.start(
        "ingest-worker",
        environment: [
          "SLUICE_REDIS": "\(bench.server.endpoint)", "SLUICE_NAME": "from-environment",
          "SLUICE_SINK": "sqlite:\(bench.path)", "SLUICE_NAMESPACE": "other", "SLUICE_BATCH": "7",
          "SLUICE_BATCH_BYTES": "10_000", "SLUICE_LANES": "1", "SLUICE_LEASE": "2s", "SLUICE_ATTEMPTS": "2",
          "SLUICE_DEATHS": "2", "SLUICE_DECODED_BYTES": "2048", "SLUICE_MAX_RATIO": "100",
          "SLUICE_DRAIN": "1s", "SLUICE_LOG_LEVEL": "debug",
        ])
      try await process.waitForLine(containing: "from-environment")
      process.terminate()
      #expect(try await process.waitForExit() == .exited(0))
    }
  }

  @Test(arguments: [
    (["--sink", "sqlite:/nowhere/at/all/x.db"], "no folder /nowhere/at/all"),
    (["--sink", "sqlite:/tmp"], "is a folder"),
    (["--sink", "tape:/dev/st0"], "expected sqlite:PATH"), (["--sink", "none:x"], "expected sqlite:PATH"),
    ([], "--sink is missing"),
    (["--batch", "0"], "from 1 to 1000"), (["--lanes", "9"], "from 1 to 8"), (["--lease", "0"], "--lease"),
    (["--sink", "postgres://u:s3cret@h/d?table=a-b"], "table=NAME"), (["--when-revoked", "maybe"], "store or discard"),
    (["--name", "a b"], "letters, digits"), (["--redis", "http://x"], "--redis"), (["--tail", "1"], "--tail"),
    (["--max-ratio", "0"], "from 1 to 1000000"),
  ])
  func `what makes no sense is refused at the start with a sentence and 64`(arguments: [String], word: String)
    async throws
  {
    let sink = arguments.isEmpty || arguments[0] == "--sink" ? [] : ["--sink", "sqlite:/tmp/never-made.db"]
    let process = try await ServiceProcess.start("ingest-worker", sink + arguments)
    #expect(try await process.waitForExit() == .exited(64))
    // Its output may arrive a moment after its end.
    try await eventually("it says why") { process.standardError.text.contains(word) }
    #expect(!process.standardError.text.contains("s3cret"))
  }
}
