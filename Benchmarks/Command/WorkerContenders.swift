// Those that empty a queue, each with the queue that it knows.

import Foundation
import Hiredis
import NIOCore
import RedisClient
import RedisFixture

/// Something that takes jobs of 1 KiB from Redis.
struct WorkerContender: Sendable {
  let name: String
  /// How many there are in a round: so many that it takes seconds.
  let jobs: Int
  /// Puts jobs into its queue.
  let fill: @Sendable (QueueRedis, Int) async throws -> Void
  let start: @Sendable (RedisServer, TemporaryFolder) async throws -> ServiceProcess
  /// Lists and their kin whose lengths together are the jobs that nobody has taken.
  let waiting: [RedisCommand]
  /// Says whether all jobs were done, each once.
  let isDone: @Sendable (QueueRedis, Int) async throws -> Bool
}

/// A Redis of a round's own, and a connection to it.
struct QueueRedis {
  let server: RedisServer
  let client: RedisClient

  func send(_ commands: [RedisCommand]) async throws -> [RedisReply] {
    try await client.execute(commands, within: .seconds(60)).map { try $0.orThrow() }
  }

  func count(_ commands: [RedisCommand]) async throws -> Int {
    try await send(commands).reduce(0) { $0 + Int(try $1.integer()) }
  }

  /// Pushes elements, so many at once that it doesn't take long.
  func push(_ list: String, _ count: Int, _ element: (Int) -> [UInt8]) async throws {
    for start in stride(from: 0, to: count, by: 500) {
      let elements = (start..<min(start + 500, count)).map(element)
      _ = try await send([RedisCommand("LPUSH", arguments: [list] + elements)])
    }
  }
}

extension WorkerContender {
  private static let payload = [UInt8](repeating: UInt8(ascii: "x"), count: 1_024)
  private static let pending = (0...16).map { "sluice:{queue-0}:pending:\($0)" }

  /// Ours. The envelopes are as a node writes them.
  static func sluice(_ name: String, jobs: Int, sink: @escaping @Sendable (TemporaryFolder) -> String)
    -> WorkerContender
  {
    WorkerContender(
      name: name, jobs: jobs,
      fill: { redis, count in
        try await redis.push(pending[0], count) { number in
          let digits = String(number)
          let id = "0194f000-0000-7000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
          let line =
            #"{"id":"\#(id)","account":"account-1","key":"\#(String(repeating: "a", count: 64))","received_at":1790000000000,"#
            + #""content_type":"application/json","path":"/v1/events","node":"node-1"}"#
          return Array(line.utf8) + [UInt8(ascii: "\n")] + payload
        }
      },
      start: { redis, folder in
        try await ServiceProcess.start(
          "ingest-worker", ["--name", "bench", "--sink", sink(folder), "--log-level", "warning"],
          environment: ["SLUICE_REDIS": "\(redis.tcpEndpoint)"])
      },
      waiting: pending.map { RedisCommand("LLEN", $0) },
      isDone: { redis, count in
        try await redis.send([RedisCommand("HGET", "sluice:{queue-0}:stats", "done")])[0].stringOrNull() == "\(count)"
      })
  }

  static let sidekiq = WorkerContender(
    name: "Sidekiq, 10 threads, BRPOP, job that does nothing", jobs: 60_000,
    fill: { redis, count in
      _ = try await redis.send([RedisCommand("SADD", "queues", "default")])
      try await redis.push("queue:default", count) { number in
        let digits = String(number)
        let id = String(repeating: "0", count: 24 - digits.count) + digits
        let text = String(decoding: payload, as: UTF8.self)
        return Array(
          (#"{"retry":true,"queue":"default","class":"Nothing","args":["\#(text)"],"jid":"\#(id)","#
            + #""created_at":1790000000.5,"enqueued_at":1790000000.5}"#).utf8)
      }
    },
    start: { redis, _ in
      try await ServiceProcess.start(
        "/usr/bin/sidekiq", ["-r", "./\(Peers.folder)/sidekiq_job.rb", "-c", "10", "-q", "default"],
        environment: ["REDIS_URL": "\(redis.tcpEndpoint)", "MALLOC_ARENA_MAX": "2"])
    },
    waiting: [RedisCommand("LLEN", "queue:default")],
    isDone: { redis, count in
      // It reports every few seconds; what failed would wait to be tried again.
      let replies = try await redis.send([RedisCommand("GET", "stat:processed"), RedisCommand("ZCARD", "retry")])
      guard try replies[1].integer() == 0 else { throw CannotMeasure("jobs of Sidekiq failed") }
      return try replies[0].stringOrNull() == "\(count)"
    })

  /// RQ, whose worker forks for each job unless it is told to be simple.
  static func rq(_ name: String, jobs: Int, workerClass: String) -> WorkerContender {
    WorkerContender(
      name: name, jobs: jobs,
      fill: { redis, count in
        try await Peers.run(
          try Peers.python(), ["\(Peers.folder)/rq_jobs.py", "\(redis.server.tcpEndpoint)", "\(count)"])
      },
      start: { redis, _ in
        try await ServiceProcess.start(
          try Peers.python(),
          ["-m", "rq.cli", "worker", "--quiet", "-P", Peers.folder, "-w", workerClass, "-u", "\(redis.tcpEndpoint)"],
          environment: ["PYTHONDONTWRITEBYTECODE": "1"])
      },
      waiting: [RedisCommand("LLEN", "rq:queue:default")],
      isDone: { redis, _ in
        // A job's key goes with the job, since its result isn't kept.
        var cursor = "0"
        repeat {
          let reply = try await redis.send([RedisCommand("SCAN", cursor, "MATCH", "rq:job:*", "COUNT", 10_000)])
          let items = try reply[0].array()
          cursor = try items[0].string()
          if try !items[1].array().isEmpty { return false }
        } while cursor != "0"
        return true
      })
  }
}
