// The cost of a reconnect after a few changes among many keys: the buckets that are read, counted by Redis itself. And
// which keys are admitted in the meantime.

import Foundation
import Hiredis
import KeyReplica
import Logging
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Synchronization
import Testing

@testable import KeyStore

@Suite struct ResyncCostTests {
  /// How the mirror was away while the keys changed.
  enum Absence: CaseIterable {
    /// Its connections were killed.
    case cut
    /// Its process ended, and another began with what that one had saved.
    case restarted
  }

  /// A million keys in the complete test run, which has optimised executables; fewer otherwise.
  private static let keyCount = ProcessInfo.processInfo.environment["SLUICE_BIN"] == nil ? 100_000 : 1_000_000

  @Test func `after an absence just the buckets that differ are read, and the old ones serve until then`() async throws
  {
    try await StoreBench.with { store in
      for start in stride(from: 0, to: Self.keyCount, by: 20_000) {
        try await store.put((start..<start + 20_000).map { "key \($0)" })
      }
      _ = try await store.writer.seal()
      var driver = driver(of: store)
      driver.start()
      try await complete(driver, at: UInt64(Self.keyCount + 1))
      var version = UInt64(Self.keyCount + 1)
      for (round, (absence, trimmed)) in Absence.allCases.flatMap({ [($0, false), ($0, true)] }).enumerated() {
        let changes = HundredChanges(round: round)
        let sample = unchanged(besides: changes)
        let before = try await bucketReads(of: store)
        var witness = Witness(driver, keys: sample)
        switch absence {
        case .cut:
          // In one go, so that the mirror can't be back before the changes.
          let killed = store.connection.send(RedisCommand("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
          let changed = store.writer.submit(changes.edits)
          let trim = trimmed ? store.connection.send(RedisCommand("XTRIM", store.layout.changes, "MAXLEN", 0)) : nil
          #expect(try await killed.get().integer() == 2)
          version = try await changed.get().version
          _ = try await trim?.get().orThrow()
        case .restarted:
          let saved = try #require(await driver.image(source: "test").get()).encoded()
          driver.stop()
          try await expectAdmitted(witness, "before, \(absence), trimmed: \(trimmed)")
          version = try await store.writer.apply(changes.edits).version
          if trimmed { try await store.run("XTRIM", store.layout.changes, "MAXLEN", 0) }
          driver = self.driver(
            of: store,
            restoring: try MirrorImage(decoding: saved, source: "test", bucketCount: StoreLayout.bucketCount))
          driver.start()
          try await eventually("it admits whom it knew") { driver.admits(KeyID(secret: sample[0].utf8)) != nil }
          witness = Witness(driver, keys: sample)
        }
        try await complete(driver, at: version)
        try await expectAdmitted(witness, "\(absence), trimmed: \(trimmed)")
        let read = try await bucketReads(of: store) - before
        #expect(read == changes.buckets.count, "\(absence), trimmed: \(trimmed)")
        #expect(read <= 100)

        for key in changes.added { #expect(driver.admits(KeyID(secret: key.utf8)) == "acme") }
        for key in changes.moved { #expect(driver.admits(KeyID(secret: key.utf8)) == "new owner \(round)") }
        for key in changes.revoked {
          guard case .refuse(.revokedKey, _) = try await driver.verdict(of: KeyID(secret: key.utf8)).get() else {
            Issue.record("\(key) was revoked, and isn't refused")
            continue
          }
        }
      }
      driver.stop()
    }
  }

  /// A mirror that reads no bucket again for its own sake, so that each read that Redis counts is one that was needed.
  private func driver(of store: StoreBench, restoring image: MirrorImage? = nil) -> ReplicaDriver {
    var limits = Replica.Limits()
    limits.rereadInterval = .seconds(3600)
    var logger = Logger(label: "replica")
    logger.logLevel = .critical
    return ReplicaDriver(
      endpoint: store.redis.endpoint, layout: store.layout, limits: limits, restoring: image, name: "test",
      on: MultiThreadedEventLoopGroup.singleton.any(), logger: logger)
  }

  private func complete(_ driver: ReplicaDriver, at version: UInt64) async throws {
    try await eventually(within: .seconds(20), "the mirror is complete at version \(version)") {
      let status = try await driver.status().get()
      return status.completeness.state == .complete && status.objection == nil && status.version == version
    }
  }

  private func expectAdmitted(_ witness: Witness, _ when: Comment) async throws {
    let (looks, misses) = try await witness.end()
    #expect(looks > 0 && misses == 0, when)
  }

  private func bucketReads(of store: StoreBench) async throws -> Int {
    let lines = try await store.run("INFO", "commandstats").string().split(whereSeparator: \.isNewline)
    guard let line = lines.first(where: { $0.hasPrefix("cmdstat_hgetall:") }) else { return 0 }
    return try #require(line.firstMatch(of: /calls=(\d+)/).flatMap { Int($0.1) })
  }

  /// Keys that stay as they are: some whose buckets change, and some whose buckets don't.
  private func unchanged(besides changes: HundredChanges) -> [String] {
    let among = (90_000..<Self.keyCount).lazy.map { "key \($0)" }
    let touched = among.filter { changes.buckets.contains(HundredChanges.bucket(of: $0)) }.prefix(50)
    let others = among.filter { !changes.buckets.contains(HundredChanges.bucket(of: $0)) }.prefix(50)
    return Array(touched) + Array(others)
  }
}

/// Some keys are revoked, some get another account, and some are new: a hundred in all.
private struct HundredChanges {
  let revoked: [String]
  let moved: [String]
  let added: [String]
  let edits: [KeyEdit]
  let buckets: Set<Int>

  init(round: Int) {
    revoked = (0..<40).map { "key \(1000 * round + $0)" }
    moved = (40..<70).map { "key \(1000 * round + $0)" }
    added = (0..<30).map { "added \(round) \($0)" }
    edits = revoked.map { .set($0, .revoked) } + moved.map { .put($0, "new owner \(round)") } + added.map { .put($0) }
    buckets = Set((revoked + moved + added).map { Self.bucket(of: $0) })
  }

  static func bucket(of key: String) -> Int { KeyID(secret: key.utf8).bucket(of: StoreLayout.bucketCount) }
}

/// Looks without a pause whether keys are admitted.
private final class Witness: Sendable {
  private let looks = Atomic(0)
  private let misses = Atomic(0)
  private let ending = Atomic(false)
  private let ended = Atomic(false)

  init(_ driver: ReplicaDriver, keys: [String]) {
    let ids = keys.map { KeyID(secret: $0.utf8) }
    Thread.detachNewThread { [self] in
      while !ending.load(ordering: .relaxed) {
        for id in ids where driver.admits(id) == nil { misses.add(1, ordering: .relaxed) }
        looks.add(ids.count, ordering: .relaxed)
        sched_yield()
      }
      ended.store(true, ordering: .releasing)
    }
  }

  /// Ends, and says how often it looked and how often a key wasn't admitted.
  func end() async throws -> (looks: Int, misses: Int) {
    ending.store(true, ordering: .relaxed)
    try await eventually("the witness ends") { ended.load(ordering: .acquiring) }
    return (looks.load(ordering: .relaxed), misses.load(ordering: .relaxed))
  }
}
