// Every kind of rewound, damaged, foreign or absent store, on a real Redis. In each no active key is refused, the status says
// what is the matter, and the mirror heals by itself once the store is well. The table in Guarantees.md is this list.

import Foundation
import Hiredis
import KeyReplica
import NIOCore
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(3))) struct StoreFaultTests {
  @Test(arguments: StoreFault.all) func `the fault is noticed, refuses nobody and heals`(fault: StoreFault) async throws
  {
    try await FaultBench.play(fault)
  }

  /// The regular reads of the position find it, without any request.
  @Test(
    arguments: StoreFault.all.filter { ["FLUSHALL", "the store went back in place", "meta deleted"].contains($0.name) })
  func `it is noticed with nobody asking`(fault: StoreFault) async throws {
    try await FaultBench.play(fault, quietly: true)
  }
}

extension StoreFault {
  static let all: [StoreFault] =
    lostStores + rewoundStores + foreignStores + handEdits + strangeRecords + brokenStreams + unwillingServers
    + silentServers + harmless

  // MARK: Stores that are gone

  private static let lostStores = [
    StoreFault(
      name: "FLUSHALL", status: ["no_store"],
      strike: { try await $0.store.run("FLUSHALL") },
      mend: { try await $0.populate() }),
    StoreFault(
      name: "FLUSHALL, and another list is imported at once", log: ["another history", "gone from this Redis"],
      strangers: .provable,
      strike: { bench in
        try await bench.store.run("FLUSHALL")
        try await bench.populate(account: "moved")
      }),
    StoreFault(
      name: "SWAPDB", status: ["no_store"],
      strike: { try await $0.store.run("SWAPDB", 0, 1) },
      mend: { try await $0.store.run("SWAPDB", 0, 1) }),
    StoreFault(
      name: "meta deleted", status: ["no_store"],
      strike: { bench in
        try await bench.store.run("COPY", bench.store.layout.meta, "backup")
        try await bench.store.run("DEL", bench.store.layout.meta)
      },
      mend: { try await $0.store.run("RENAME", "backup", $0.store.layout.meta) }),
    StoreFault(
      name: "FLUSHALL, and the import takes its time", status: ["no_store", "unsealed"],
      strike: { bench in
        try await bench.store.run("FLUSHALL")
        try await bench.store.put(Array(FaultBench.steady[200...]))
        try await bench.adopt()
        try await eventually("what is there has been mirrored") { try await bench.status().objection == .unsealed }
      },
      mend: { try await $0.populate() }),
    StoreFault(
      // Fewer than the guard would hold back.
      name: "FLUSHALL, and the import takes its time with the last few", status: ["no_store", "unsealed"],
      strike: { bench in
        try await bench.store.run("FLUSHALL")
        try await bench.store.put(Array(FaultBench.steady[50...]))
        try await bench.adopt()
        try await eventually("what is there has been mirrored") { try await bench.status().objection == .unsealed }
      },
      mend: { try await $0.populate() }),
    StoreFault(
      name: "evicted", options: RedisServerOptions { $0.evictionPolicy = "allkeys-random" },
      limits: { $0.auditInterval = .milliseconds(200) },
      // Whichever keys are hit: buckets, meta hardly ever.
      status: ["bucket", "no_store"], within: .milliseconds(700), strangers: .undecidedOnceNoticed,
      prepare: { bench in
        // Something else that takes memory: of a store alone little would be left, since Redis counts its buffers too.
        let ballast = String(repeating: "x", count: 10_000)
        for number in 0..<300 { try await bench.store.run("SET", "ballast \(number)", ballast) }
      },
      strike: { bench in
        let all = try await bench.bucketsInRedis()
        let memory = try await bench.store.run("INFO", "memory").string().split(whereSeparator: \.isNewline)
        var limit = memory.first { $0.hasPrefix("used_memory:") }.flatMap { Int($0.dropFirst(12)) } ?? 0
        while try await bench.bucketsInRedis() == all {
          limit -= 20_000
          try await bench.store.run("CONFIG", "SET", "maxmemory", limit)
          try await bench.store.run("SET", "more", "x")
        }
        try await bench.store.run("CONFIG", "SET", "maxmemory", 0)
      },
      mend: { bench in
        try await bench.store.run("FLUSHALL")
        try await bench.populate()
      }),
  ]

  // MARK: Histories that went back

  /// With an append-only file nothing would be lost.
  private static let rdbAlone = RedisServerOptions { $0.appendOnly = .off }

  private static let rewoundStores =
    [
      StoreFault(
        name: "an old RDB was restored, only a revocation is lost", options: rdbAlone, status: ["store_away"],
        log: ["the store went back"],
        strangers: .provable,
        prepare: { try await $0.store.run("SAVE") },
        approach: { try await $0.changeWhatWillBeLost(puts: 0) },
        strike: { bench in
          try await bench.restartOutOfReach()
          try await bench.putNewcomers(0)
          try bench.address.lead(to: bench.store.redis)
        })
    ]
    + [0, 1, 4, 9].map { count in
      StoreFault(
        name: count == 0
          ? "the store went back in place" : "the store went back in place, \(count) of 4 versions were used again",
        log: ["the store went back", "digest", "another history", "leads elsewhere"], strangers: .provable,
        prepare: { try await $0.store.run("SAVE") },
        approach: { try await $0.changeWhatWillBeLost() },
        strike: { try await $0.rewindInPlace(putting: count) },
        mend: { try await $0.confirm() })
    }
    + [0, 1, 4, 9].map { count in
      StoreFault(
        name: count == 0
          ? "an old RDB was restored" : "an old RDB was restored, \(count) of 4 versions were used again",
        options: rdbAlone, status: ["store_away"], log: ["the store went back"], strangers: .provable,
        prepare: { try await $0.store.run("SAVE") },
        approach: { try await $0.changeWhatWillBeLost() },
        strike: { bench in
          try await bench.restartOutOfReach()
          try await bench.putNewcomers(count)
          try bench.address.lead(to: bench.store.redis)
        },
        mend: { try await $0.confirm() })
    }
    + [0, 1, 4, 9].map { count in
      StoreFault(
        name: count == 0
          ? "a replica that lagged was promoted"
          : "a replica that lagged was promoted, \(count) of 4 versions were used again",
        status: ["store_away"], log: ["the store went back"],
        prepare: { bench in
          try await bench.declare(replicas: 1)
          try await bench.startReplica()
        },
        approach: { bench in
          try await bench.second?.run("REPLICAOF", "NO", "ONE")
          try await bench.changeWhatWillBeLost()
        },
        strike: { bench in
          try await bench.putNewcomers(count, at: bench.second)
          try await bench.takeOver()
        },
        mend: { bench in
          try await bench.declare(replicas: 0)
          try await bench.confirm()
        })
    }

  // MARK: Another Redis at the same address

  private static let foreignStores = [
    StoreFault(
      name: "the wrong Redis for a while, with a sealed store of few keys", status: ["wrong_store"],
      log: ["expected the store"],
      prepare: { bench in
        let other = try await StoreBench(try await RedisServer.start(bench.store.redis.options))
        bench.second = other
        try await other.put((0..<20).map { "other \($0)" })
        _ = try await other.writer.seal()
      },
      strike: { bench in
        guard let other = bench.second else { return }
        try bench.address.lead(to: other.redis)
        try await bench.cutConnections()
      },
      mend: { bench in
        try bench.address.lead(to: bench.store.redis)
        try await bench.second?.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
      }),
    StoreFault(
      name: "another Redis with another store",
      status: ["wrong_store"], log: ["expected the store"],
      prepare: { bench in
        let other = try await StoreBench(try await RedisServer.start(bench.store.redis.options))
        bench.second = other
        try await other.put((0..<50).map { "other \($0)" })
        try await bench.populate(other, account: "elsewhere")
      },
      strike: { try await $0.takeOver() },
      mend: { bench in
        try await bench.adopt()
        bench.asker.include((0..<50).map { "other \($0)" })
      }),
    StoreFault(
      name: "another Redis, and it is empty", status: ["no_store"],
      prepare: { bench in
        bench.second = try await StoreBench(try await RedisServer.start(bench.store.redis.options))
      },
      strike: { try await $0.takeOver() },
      mend: { try await $0.populate() }),
  ]

  // MARK: Edits by hand

  private static func handEdit(
    _ name: String, limits: @escaping @Sendable (inout Replica.Limits) -> Void, status: [String] = ["bucket"],
    within: Duration, strike: @escaping Step
  ) -> StoreFault {
    StoreFault(
      name: name, limits: limits, status: status, within: within, strangers: .undecidedOnceNoticed,
      strike: { bench in
        try await bench.store.run("COPY", bench.victimBucket, "backup")
        try await strike(bench)
      },
      mend: { try await $0.store.run("COPY", "backup", $0.victimBucket, "REPLACE") })
  }

  private static func auditedEdit(_ name: String, status: [String] = ["bucket"], strike: @escaping Step) -> StoreFault {
    handEdit(
      name, limits: { $0.auditInterval = .milliseconds(200) }, status: status, within: .milliseconds(700),
      strike: strike)
  }

  private static func rereadEdit(_ name: String, record: String) -> StoreFault {
    // A round of all buckets: 1024 times this, and what the reads take.
    handEdit(name, limits: { $0.rereadInterval = .microseconds(200) }, within: .seconds(2)) { bench in
      try await bench.store.run("HSET", bench.victimBucket, bench.victimID, record)
    }
  }

  private static let handEdits = [
    auditedEdit("a bucket deleted") { try await $0.store.run("DEL", $0.victimBucket) },
    auditedEdit("a field deleted") { try await $0.store.run("HDEL", $0.victimBucket, $0.victimID) },
    auditedEdit("a field added") { bench in
      try await bench.store.run("HSET", bench.victimBucket, KeyID(secret: "smuggled".utf8).bytes, "1 a 0 acme")
    },
    auditedEdit("a summary that can't be read") { try await $0.store.run("HSET", $0.victimBucket, "summary", "many") },
    auditedEdit("a summary of another digest") { bench in
      let summary = try await bench.store.run("HGET", bench.victimBucket, "summary").string().split(separator: " ")
      let other = "\(summary[0]) \(String(repeating: "5", count: 32)) \(summary[2])"
      try await bench.store.run("HSET", bench.victimBucket, "summary", other)
    },
    auditedEdit("a summary of another count") { bench in
      let summary = try await bench.store.run("HGET", bench.victimBucket, "summary").string().split(separator: " ")
      try await bench.store.run("HSET", bench.victimBucket, "summary", "7 \(summary[1]) \(summary[2])")
    },
    auditedEdit("a summary of a version to come") { bench in
      let summary = try await bench.store.run("HGET", bench.victimBucket, "summary").string().split(separator: " ")
      try await bench.store.run("HSET", bench.victimBucket, "summary", "\(summary[0]) \(summary[1]) 99999")
    },
    auditedEdit("a bucket of the wrong type", status: ["WRONGTYPE"]) {
      try await $0.store.run("SET", $0.victimBucket, "x")
    },
    rereadEdit("a record edited in place: revoked", record: "1 r 0 acme"),
    rereadEdit("a record edited in place: another account", record: "1 a 0 somebody"),
    rereadEdit("a record edited in place: undecodable", record: "2 a 0 acme"),
    StoreFault(
      name: "a bucket deleted and written to again", limits: { $0.auditInterval = .milliseconds(200) },
      status: ["bucket", "digest"], within: .milliseconds(700), strangers: .undecidedOnceNoticed,
      strike: { bench in
        try await bench.store.run("DEL", bench.victimBucket)
        var other = 0
        while bench.store.bucket(of: "other \(other)") != bench.victimBucket { other += 1 }
        // A store that refuses this is as good.
        do { _ = try await bench.store.writer.apply([.put("other \(other)")]) } catch is RedisServerError {}
      },
      mend: { bench in
        try await bench.store.run("FLUSHALL")
        try await bench.populate()
      }),
    StoreFault(
      name: "the totals edited", status: ["digest"],
      strike: { bench in
        try await bench.store.run("COPY", bench.store.layout.meta, "backup")
        try await bench.store.run("HSET", bench.store.layout.meta, "digest", String(repeating: "5", count: 32))
      },
      mend: { try await $0.store.run("RENAME", "backup", $0.store.layout.meta) }),
    StoreFault(
      name: "the version edited: less", status: ["went back", "changed at version"],
      strike: { bench in
        try await bench.store.run("COPY", bench.store.layout.meta, "backup")
        try await bench.store.run("HSET", bench.store.layout.meta, "version", 7)
      },
      mend: { try await $0.store.run("RENAME", "backup", $0.store.layout.meta) }),
    StoreFault(
      // No record is another than it was, so what is proven then is right.
      name: "the version edited: more", status: ["behind the store"], log: ["its change stream ends"],
      within: .milliseconds(2500), strangers: .provable,
      strike: { bench in
        try await bench.store.run("COPY", bench.store.layout.meta, "backup")
        try await bench.store.run("HSET", bench.store.layout.meta, "version", 9999)
      },
      mend: { try await $0.store.run("RENAME", "backup", $0.store.layout.meta) }),
    StoreFault(
      name: "the seal taken off", status: ["sealed", "unsealed"],
      strike: { try await $0.store.run("HDEL", $0.store.layout.meta, "sealed") },
      mend: { _ = try await $0.store.writer.seal() }),
    StoreFault(
      name: "meta of the wrong type", status: ["WRONGTYPE"],
      strike: { bench in
        try await bench.atomically([
          RedisCommand("RENAME", bench.store.layout.meta, "backup"), RedisCommand("SET", bench.store.layout.meta, "x"),
        ])
      },
      mend: { try await $0.store.run("RENAME", "backup", $0.store.layout.meta) }),
  ]

  // MARK: Stores and records of another kind

  /// Writes a record of a schema to come as its writer would: record, summary and totals fit.
  private static func writeUndecodableRecord(_ bench: FaultBench, inTheStream: Bool) async throws {
    let layout = bench.store.layout
    let id = KeyID(secret: FaultBench.victim.utf8)
    guard case .found(var position) = try await bench.store.connection.storePosition(layout) else {
      throw NeverHappened(description: "there is no store")
    }
    let old = try await bench.store.run("HGET", bench.victimBucket, id.bytes).bytes()
    let text = try await bench.store.run("HGET", bench.victimBucket, "summary").bytes()
    guard var summary = BucketSummary(decoding: text) else { throw NeverHappened(description: "there is no summary") }
    let record = Array("3 a 0 acme plan=gold".utf8)
    for part in [Digest(of: id, record: old), Digest(of: id, record: record)] {
      summary.digest ^= part
      position.digest ^= part
    }
    if inTheStream {
      position.version += 1
      summary.version = position.version
    }
    let append = RedisCommand(
      "XADD", layout.changes, "\(position.version)-0", "epoch", position.epoch, "op", "put", "id", id.bytes, "record",
      record, "bucket", id.bucket(of: StoreLayout.bucketCount), "count", summary.count, "digest", summary.digest.hex,
      "total", position.digest.hex)
    try await bench.atomically(
      (inTheStream ? [append] : []) + [
        RedisCommand(
          "HSET", bench.victimBucket, id.bytes, record, "summary",
          "\(summary.count) \(summary.digest.hex) \(summary.version)"),
        RedisCommand("HSET", layout.meta, "version", "\(position.version)", "digest", position.digest.hex),
      ])
  }

  private static let strangeRecords =
    [true, false].map { inTheStream in
      StoreFault(
        name: "a record that can't be decoded, " + (inTheStream ? "as a change" : "at rest"), status: ["undecodable"],
        strike: { try await writeUndecodableRecord($0, inTheStream: inTheStream) },
        mend: { bench in
          // Putting the key again doesn't mend it: the record may be a revoked key's.
          let edit = KeyEdit.put(FaultBench.victim, "mended")
          #expect(try await bench.store.writer.apply([edit])[.damaged] == 1)
          let rebuild = StoreRebuild(connection: bench.store.connection, layout: bench.store.layout)
          _ = try await rebuild.run(after: rebuild.survey(), droppingUnreadable: true)
          _ = try await bench.store.writer.apply([edit])
        })
    } + [
      StoreFault(
        name: "schema 3", status: ["schema 3"],
        strike: { try await $0.store.run("HSET", $0.store.layout.meta, "schema", 3) },
        mend: { try await $0.store.run("HSET", $0.store.layout.meta, "schema", 1) }),
      StoreFault(
        name: "2048 buckets", status: ["2048"],
        strike: { try await $0.store.run("HSET", $0.store.layout.meta, "buckets", 2048) },
        mend: { try await $0.store.run("HSET", $0.store.layout.meta, "buckets", 1024) }),
    ]

  // MARK: Streams that lead nowhere

  private static func brokenStream(_ name: String, _ command: @escaping @Sendable (StoreLayout) -> RedisCommand)
    -> StoreFault
  {
    StoreFault(
      name: name, status: ["behind the store"], log: ["its change stream ends", "are missing"],
      within: .milliseconds(2500),
      strangers: .provable,
      strike: { bench in
        // In one step, so that the feed can't come in between.
        let begun = bench.store.connection.send(RedisCommand("MULTI"))
        let put = bench.store.writer.submit([.put("new 0")])
        _ = try await bench.store.connection.execute([command(bench.store.layout), RedisCommand("EXEC")])[1].array()
        _ = try await begun.get()
        // Its reply was only that it is queued.
        _ = try? await put.get()
        bench.asker.include(["new 0"])
      })
  }

  private static let brokenStreams = [
    brokenStream("the stream trimmed to nothing before a change was read") {
      RedisCommand("XTRIM", $0.changes, "MAXLEN", 0)
    },
    brokenStream("the stream deleted before a change was read") { RedisCommand("DEL", $0.changes) },
    StoreFault(
      name: "the stream of the wrong type", status: ["WRONGTYPE"], within: .milliseconds(1500),
      strangers: .undecidedOnceNoticed,
      strike: { bench in
        try await bench.atomically([
          RedisCommand("RENAME", bench.store.layout.changes, "backup"),
          RedisCommand("SET", bench.store.layout.changes, "x"),
        ])
      },
      mend: { try await $0.store.run("RENAME", "backup", $0.store.layout.changes) }),
  ]

  // MARK: Servers that answer with errors

  private static let unwillingServers = [
    StoreFault(
      name: "LOADING",
      options: RedisServerOptions {
        $0.appendOnly = .off
        $0.arguments = ["--key-load-delay", "3000", "--loading-process-events-interval-bytes", "1024"]
      },
      status: ["LOADING"], passes: true,
      strike: { bench in
        try await bench.store.run("SAVE")
        let server = bench.store.redis
        bench.background = Task { try await server.restart() }
      },
      mend: { bench in
        try await bench.background?.value
      }),
    StoreFault(
      name: "made a replica", status: ["slave"],
      strike: { try await $0.store.run("REPLICAOF", "127.0.0.1", 1) },
      mend: { try await $0.store.run("REPLICAOF", "NO", "ONE") }),
    StoreFault(
      name: "MASTERDOWN", status: ["slave", "MASTERDOWN"],
      strike: { bench in
        try await bench.store.run("CONFIG", "SET", "replica-serve-stale-data", "no")
        try await bench.store.run("REPLICAOF", "127.0.0.1", 1)
        try await bench.cutConnections()
      },
      mend: { try await $0.store.run("REPLICAOF", "NO", "ONE") }),
    StoreFault(
      name: "NOAUTH", status: ["NOAUTH"],
      strike: { bench in
        try await bench.store.run("CONFIG", "SET", "requirepass", "none of your business")
        try await bench.cutConnections()
      },
      mend: { try await $0.store.run("CONFIG", "SET", "requirepass", "") }),
    StoreFault(
      name: "NOREPLICAS, where a replica is declared", status: ["unfenced"], within: .seconds(1),
      prepare: { bench in
        try await bench.declare(replicas: 1)
        try await bench.startReplica()
      },
      strike: { try await $0.store.run("CONFIG", "SET", "min-replicas-to-write", 2) },
      mend: { try await $0.store.run("CONFIG", "SET", "min-replicas-to-write", 0) }),
    StoreFault(
      name: "a declared replica that follows no more", status: ["unfenced"], within: .seconds(1),
      prepare: { bench in
        try await bench.declare(replicas: 1)
        try await bench.startReplica()
      },
      strike: { try await $0.second?.run("REPLICAOF", "NO", "ONE") },
      mend: { bench in try await bench.second?.run("REPLICAOF", "127.0.0.1", bench.store.redis.port) }),
    StoreFault(
      name: "NOPERM", status: ["NOPERM"],
      // Not every server answers NOPERM for a command that a script runs.
      strike: { try await $0.store.run("ACL", "SETUSER", "default", "-eval_ro") },
      mend: { try await $0.store.run("ACL", "SETUSER", "default", "+@all") }),
    StoreFault(
      name: "BUSY", options: RedisServerOptions { $0.arguments = ["--busy-reply-threshold", "50"] }, status: ["BUSY"],
      strike: { bench in
        let busy = try await StoreBench(bench.store.redis)
        bench.background = Task {
          _ = try await busy.connection.execute(RedisCommand("EVAL", "while true do end", 0), within: .seconds(30))
          busy.connection.close()
        }
        try await eventually("the server says that it is busy") {
          guard case .error(let error) = try await bench.store.connection.execute(RedisCommand("PING")) else {
            return false
          }
          return error.code == "BUSY"
        }
      },
      mend: { bench in
        try await bench.store.run("SCRIPT", "KILL")
        try await bench.background?.value
      }),
  ]

  // MARK: Servers that say nothing

  private static let silentServers = [
    StoreFault(
      name: "held (SIGSTOP), connections half open", status: ["in time"], within: .milliseconds(2500),
      strike: { try await $0.store.redis.pause() },
      mend: { try $0.store.redis.resume() }),
    StoreFault(
      name: "asleep for longer than the deadlines", status: ["in time"], within: .milliseconds(2500), passes: true,
      strike: { bench in
        let connection = bench.store.connection
        bench.background = Task {
          _ = try await connection.execute(RedisCommand("DEBUG", "SLEEP", "2.7"), within: .seconds(10)).orThrow()
        }
      },
      mend: { try await $0.background?.value }),
    StoreFault(
      name: "killed and started again", status: ["store_away"], passes: true,
      prepare: { try await $0.store.run("SAVE") },
      strike: { bench in
        try await bench.restartOutOfReach()
        try bench.address.lead(to: bench.store.redis)
      }),
  ]

  // MARK: What the mirror needn't say anything about

  /// Writing is refused with this code, and reading goes on.
  private static func unwritable(_ code: String, _ bench: FaultBench) async throws {
    do {
      _ = try await bench.store.writer.apply([.put("more")])
      Issue.record("a put succeeded, expected \(code)")
    } catch let error as RedisServerError {
      #expect(error.message.contains(code))
    }
  }

  private static let harmless = [
    StoreFault(
      name: "over maxmemory (noeviction)",
      strike: { bench in
        try await bench.store.run("CONFIG", "SET", "maxmemory", 1)
        try await unwritable("OOM", bench)
        _ = try await bench.store.writer.apply([.set(FaultBench.ended, .revoked)])
        try await eventually("the revoked key is refused") {
          guard case .refuse(.revokedKey, _) = try await bench.verdict(FaultBench.ended) else { return false }
          return true
        }
      },
      mend: { try await $0.store.run("CONFIG", "SET", "maxmemory", 0) }),
    StoreFault(
      name: "MISCONF (snapshots fail)",
      options: RedisServerOptions { $0.arguments = ["--save", "3600 1"] },
      strike: { bench in
        // A folder is in the place of the snapshot's file.
        let path = bench.store.redis.folder.path("dump.rdb")
        try FileManager.default.createDirectory(atPath: path + "/x", withIntermediateDirectories: true)
        try await bench.store.run("BGSAVE")
        try await eventually("the snapshot has failed") {
          try await bench.store.run("INFO", "persistence").string().contains("rdb_last_bgsave_status:err")
        }
        try await unwritable("MISCONF", bench)
      },
      mend: { try await $0.store.run("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }),
    StoreFault(
      name: "NOREPLICAS",
      strike: { bench in
        try await bench.store.run("CONFIG", "SET", "min-replicas-to-write", 1)
        try await unwritable("NOREPLICAS", bench)
      },
      mend: { try await $0.store.run("CONFIG", "SET", "min-replicas-to-write", 0) }),
    StoreFault(
      name: "asleep for less than the deadlines",
      strike: { try await $0.store.run("DEBUG", "SLEEP", "0.5") }),
    StoreFault(
      name: "the scripts forgotten",
      strike: { try await $0.store.run("SCRIPT", "FLUSH") }),
    StoreFault(
      name: "the stream trimmed to nothing after it was read",
      strike: { bench in
        try await bench.store.run("XTRIM", bench.store.layout.changes, "MAXLEN", 0)
        try await bench.putNewcomers(1)
      }),
  ]
}
