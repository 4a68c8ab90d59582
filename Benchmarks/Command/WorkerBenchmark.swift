// How fast a worker empties a queue of payloads of 1 KiB, beside those that one would use instead. Each gets a Redis of its own that is full before it
// starts, and is measured in the middle: from when a tenth is taken until nine tenths are, so that neither its start nor the last jobs
// count. Afterwards it must have done each job; one that hasn't is no contender.
//
// Sluice's worker takes each payload at least once, which costs it a second trip to Redis a batch; Sidekiq's BRPOP loses the jobs of a process that
// dies. Storing is another matter: there the disk is the limit, so what it does at best (one transaction for everything) stands beside it.

import Foundation
import Logging
import NIOPosix
import RedisClient
import RedisFixture

enum WorkerBenchmark: Benchmark {
  static let name = "worker"
  static let summary = "payloads out of the queue, beside Sidekiq, RQ and sqlite3's .import (takes some minutes)"

  static func run(rounds: Int) async throws -> Report {
    let contenders: [WorkerContender] = [
      .sluice("Sluice, `none:`", jobs: 200_000) { _ in "none:" },
      .sidekiq,
      .rq("RQ, SimpleWorker, job that does nothing", jobs: 3_000, workerClass: "rq.worker.SimpleWorker"),
      .rq("RQ, Worker (forks for each job)", jobs: 300, workerClass: "rq.worker.Worker"),
    ]
    let storing = WorkerContender.sluice("Sluice, `sqlite:`", jobs: 100_000) { "sqlite:\($0.path("sink.db"))" }
    var results = contenders.map { _ in [WorkerRound]() }
    var stored: [WorkerRound] = []
    var imported: [WorkerRound] = []
    for _ in 0..<rounds {
      for (place, contender) in contenders.enumerated() {
        results[place].append(try await WorkerRound.measure(contender) { _ in })
      }
      stored.append(
        try await WorkerRound.measure(storing) { folder in
          // The very rows that were stored, in the same minute.
          imported.append(try await SQLiteImport.measure(rowsOf: folder.path("sink.db"), count: storing.jobs))
        })
    }
    var report = Report(name: name, rounds: rounds)
    report.versions = [
      "sidekiq": try await Peers.version(ofPackage: "ruby-sidekiq"),
      "ruby": try await Peers.run("/usr/bin/ruby", ["--version"]),
      "rq": try await Peers.run(try Peers.python(), ["-c", "import rq; print(rq.VERSION)"]),
      "python": try await Peers.run(try Peers.python(), ["--version"]),
      "sqlite3": try await Peers.version(ofPackage: "sqlite3"),
      "redis": try await Peers.version(ofPackage: "redis-server"),
    ]
    var taking = Report.Table(
      "jobs of 1 KiB, one process", unit: "taken and thrown away",
      notes: [
        "Redis keeps nothing on disk here, for all of them alike",
        "µs: of processors, the worker's (its children's too) and Redis's; memory: the worker's peak",
      ])
    for (contender, rounds) in zip(contenders, results) { taking.add(contender.name, WorkerRound.columns(rounds)) }
    var keeping = Report.Table(
      "payloads of 1 KiB, one process", unit: "stored on disk",
      notes: [
        "Sluice: one transaction and one fsync a batch, by WAL and synchronous=FULL; .import: the same rows in one transaction"
      ])
    keeping.add(storing.name, WorkerRound.columns(stored))
    keeping.add("sqlite3 .import", WorkerRound.columns(imported))
    report.tables += [taking, keeping]
    return report
  }
}

/// What one contender did in one round.
struct WorkerRound {
  var spending: Spending
  var peakBytes: Int

  static func columns(_ rounds: [WorkerRound]) -> [(String, Figure)] {
    [
      ("jobs a second", Figure(rounds.map(\.spending.perSecond))),
      ("worker, µs a job", Figure(rounds.map(\.spending.programMicroseconds))),
      ("Redis, µs a job", Figure(rounds.map(\.spending.redisMicroseconds))),
      ("memory, MiB", Figure(rounds.map { Double($0.peakBytes) / Double(1 << 20) })),
    ]
  }

  /// - Parameter afterwards: Is given what the contender stored, once it has ended.
  static func measure(
    _ contender: WorkerContender, afterwards: (TemporaryFolder) async throws -> Void
  ) async throws -> WorkerRound {
    let server = try await RedisServer.start()
    let folder = try TemporaryFolder()
    let client = RedisClient(
      endpoint: server.tcpEndpoint, on: MultiThreadedEventLoopGroup.singleton.any(),
      logger: Logger(label: "bench", factory: { _ in SwiftLogNoOpLogHandler() }))
    defer { client.shutDown() }
    let redis = QueueRedis(server: server, client: client)
    try await contender.fill(redis, contender.jobs)
    let process = try await contender.start(server, folder)
    let begin = try await mark(contender, process, redis, atMost: contender.jobs * 9 / 10)
    let end = try await mark(contender, process, redis, atMost: contender.jobs / 10)
    let spending = try Spending(begin.waiting - end.waiting, from: begin.use, to: end.use)
    try await eventually(within: .seconds(120), "\(contender.name) has done all \(contender.jobs) jobs") {
      try await contender.isDone(redis, contender.jobs)
    }
    let peak = try Machine.peakBytes(ofFamily: process.pid)
    process.terminate()
    _ = try await process.waitForExit(within: .seconds(60))
    try await server.kill9()
    try await afterwards(folder)
    return WorkerRound(spending: spending, peakBytes: peak)
  }

  private static func mark(
    _ contender: WorkerContender, _ process: ServiceProcess, _ redis: QueueRedis, atMost most: Int
  ) async throws -> (waiting: Int, use: ProcessUse) {
    guard let server = redis.server.pid else { throw CannotMeasure("Redis has ended") }
    let deadline = ContinuousClock.now + .seconds(180)
    while true {
      let waiting = try await redis.count(contender.waiting)
      if waiting <= most {
        guard waiting > 0 else { throw CannotMeasure("\(contender.name) was through before it could be looked at") }
        return (waiting, try ProcessUse.now(program: process.pid, redis: server))
      }
      guard process.status == nil, ContinuousClock.now < deadline else {
        throw CannotMeasure("\(contender.name) still has \(waiting) jobs before it\n\(process.outputs)")
      }
      try await Task.sleep(for: .milliseconds(5))
    }
  }
}

/// What SQLite's own shell does with the same rows: the most that this disk and this table allow.
private enum SQLiteImport {
  static func measure(rowsOf source: String, count: Int) async throws -> WorkerRound {
    let folder = try TemporaryFolder()
    let rows = folder.path("rows.csv")
    let schema = try await Peers.run(
      "/usr/bin/sqlite3", [source, "SELECT sql FROM sqlite_master WHERE name = 'payloads'"])
    try await Peers.run("/usr/bin/sqlite3", ["-csv", source, ".output \(rows)", "SELECT * FROM payloads"])
    let file = folder.path("import.db")
    // From a file of text all bodies are text.
    let setUp = "PRAGMA journal_mode = wal; " + schema.replacing("body BLOB", with: "body TEXT")
    try await Peers.run("/usr/bin/sqlite3", [file, setUp])
    let began = Machine.now()
    let process = try await ServiceProcess.start(
      "/usr/bin/sqlite3", ["-csv", file, "PRAGMA synchronous = FULL", ".import \(rows) payloads"])
    // What it has used is known as long as it lives.
    var end = ProcessUse(at: began, program: 0, redis: 0)
    var peak = 0
    while process.status == nil {
      if let used = try? Machine.processTime(ofFamily: process.pid),
        let bytes = try? Machine.peakBytes(ofFamily: process.pid)
      {
        (end.program, peak) = (max(end.program, used), max(peak, bytes))
      }
      try await Task.sleep(for: .milliseconds(2))
    }
    end.at = Machine.now()
    let imported = try await Peers.run("/usr/bin/sqlite3", [file, "SELECT count(*) FROM payloads"])
    guard imported == "\(count)" else {
      throw CannotMeasure("sqlite3 imported \(imported) of \(count) rows\n\(process.outputs)")
    }
    let spending = try Spending(count, from: ProcessUse(at: began, program: 0, redis: 0), to: end)
    return WorkerRound(spending: spending, peakBytes: peak)
  }
}
