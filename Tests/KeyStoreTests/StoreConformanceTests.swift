// The real store, its scripts on a real Redis, passes the scenarios that the simulated one passes in KeyReplicaTests.

import Hiredis
import KeyReplica
import NIOCore
import RedisClient
import RedisFixture
import SimulatedStore
import Testing

@testable import KeyStore

@Suite struct StoreConformanceTests {
  @Test(arguments: StoreConformance.scenarios) func `the store on Redis does as the simulated one`(
    scenario: StoreScenario
  ) async throws {
    try await StoreBench.with { bench in try await scenario.run(Subject(bench: bench)) }
  }

  private struct Subject: ConformingStore {
    let bench: StoreBench
    var bucketCount: Int { StoreLayout.bucketCount }

    /// An error reply of one of the scripts is a refusal, any other isn't expected.
    private func refusing<Value>(_ body: () async throws -> Value) async throws -> Value {
      do {
        return try await body()
      } catch let error as RedisServerError {
        guard let code = StoreRefusal.Code(rawValue: error.code) else { throw error }
        throw StoreRefusal(code, error.message)
      }
    }

    func apply(_ edits: [StoreEdit], basedOn basis: UInt64?) async throws -> StoreOutcome {
      try await apply(edits, basedOn: basis, by: bench.writer)
    }

    func applyAtOnce(_ edits: [StoreEdit]) async throws -> [StoreOutcome] {
      try await withThrowingTaskGroup(of: StoreOutcome.self) { group in
        for edit in edits {
          let connection = try await RedisConnection.connected(to: bench.redis.endpoint, on: StoreBench.loop)
          group.addTask {
            defer { connection.close() }
            let writer = KeyStoreWriter(connection: connection, layout: bench.layout)
            return try await apply([edit], basedOn: nil, by: writer)
          }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
    }

    func purge(_ keys: [KeyID], revokedBefore moment: Int64) async throws -> StoreOutcome {
      let outcome = try await refusing { try await bench.writer.purge(keys, revokedBefore: moment).get() }
      return Self.words(outcome)
    }

    private func apply(
      _ edits: [StoreEdit], basedOn basis: UInt64?, by writer: KeyStoreWriter
    ) async throws -> StoreOutcome {
      let outcome = try await refusing {
        try await writer.apply(
          edits.map { edit in
            let kind: KeyEdit.Kind =
              switch edit.kind {
              case .put(let account, let state): .put(account: account, state)
              case .setState(let state): .setState(state)
              }
            var allowing: KeyEdit.Permissions = []
            if edit.allowing.contains(.end) { allowing.insert(.end) }
            if edit.allowing.contains(.move) { allowing.insert(.move) }
            if edit.allowing.contains(.reactivate) { allowing.insert(.reactivate) }
            let expiry: ExpiryChange =
              switch edit.expiry {
              case .keep: .keep
              case .remove: .remove
              case .set(let seconds): .set(seconds)
              }
            return KeyEdit(
              key: edit.key, kind: kind, allowing: allowing, revision: edit.revision, expiry: expiry)
          }, basedOn: basis)
      }
      return Self.words(outcome)
    }

    private static func words(_ outcome: EditOutcome) -> StoreOutcome {
      StoreOutcome(
        epoch: outcome.epoch, version: outcome.version,
        results: outcome.results.map { "\($0.kind.rawValue)\($0.state.map { String($0.letter) } ?? "-")" })
    }

    func seal(mayBeEmpty: Bool) async throws -> SealOutcome {
      let (version, keys, already) = try await refusing { try await bench.writer.seal(mayBeEmpty: mayBeEmpty) }
      return SealOutcome(version: version, keys: keys, already: already)
    }

    func position() async throws -> StoreAnswer<StorePosition> {
      try await bench.connection.storePosition(bench.layout)
    }
    func manifest() async throws -> StoreAnswer<Manifest> { try await bench.connection.storeManifest(bench.layout) }

    func bucket(_ index: Int) async throws -> RawBucket {
      try await bench.layout.rawBucket(from: bench.connection.execute(bench.layout.bucketCommand(index)))
    }

    func changes(after version: UInt64, atMost limit: Int) async throws -> [Change] {
      let command = bench.layout.changesCommand(after: version, waitingMilliseconds: 1, atMost: limit)
      return try await bench.layout.changes(from: bench.connection.execute(command))
    }

    func confirmRemovals() async throws { try await refusing { _ = try await bench.writer.confirmRemovals() } }

    func confirm(unknownKeys number: Int) async throws {
      try await refusing { try await bench.writer.confirm(unknownKeys: number) }
    }

    private var marks: SourceMarks { SourceMarks(connection: bench.connection, layout: bench.layout) }

    func time() async throws -> UInt64 { try await marks.time() }

    func mark(_ moment: UInt64, of epoch: String, at version: UInt64, digest: Digest) async throws -> Bool {
      let lease = try await ListLease.take(bench.connection, bench.layout, as: "the test", within: .zero) { _ in }
      let outcome = try await refusing {
        try await marks.mark(moment, under: lease, of: epoch, at: version, digest: digest)
      }
      await lease.release()
      return outcome.isWritten
    }

    func setSourceMaxAge(_ maxAge: Duration?) async throws { try await refusing { try await marks.setMaxAge(maxAge) } }

    func declare(replicas: Int) async throws {
      try await refusing {
        try await Replication(connection: bench.connection, layout: bench.layout).declare(replicas: replicas)
      }
    }

    func name(_ name: String) async throws -> Bool {
      do {
        _ = try await refusing { try await bench.writer.name(name) }
        return true
      } catch is OtherStoreName {
        return false
      }
    }

    func adopt(_ other: String) async throws { try await refusing { try await bench.writer.adopt(other) } }

    func rebuild() async throws {
      let rebuild = StoreRebuild(connection: bench.connection, layout: bench.layout)
      _ = try await rebuild.run(after: rebuild.survey(), droppingUnreadable: true)
    }

    func rebuildHalf() async throws {
      struct Killed: Error {}
      let rebuild = StoreRebuild(connection: bench.connection, layout: bench.layout)
      do {
        _ = try await rebuild.run(after: rebuild.survey(), droppingUnreadable: true) { done throws(Killed) in
          if done >= StoreLayout.bucketCount / 2 { throw Killed() }
        }
      } catch is Killed {}
    }

    func flush() async throws { try await bench.run("FLUSHALL") }
    func trim(to count: Int) async throws { try await bench.run("XTRIM", bench.layout.changes, "MAXLEN", count) }
    func deleteMeta() async throws { try await bench.run("DEL", bench.layout.meta) }
    func deleteBucket(_ index: Int) async throws { try await bench.run("DEL", bench.layout.bucket(index)) }

    func removeField(of key: KeyID) async throws { try await bench.run("HDEL", bucketName(of: key), key.bytes) }

    func setField(of key: KeyID, to record: [UInt8]) async throws {
      try await bench.run("HSET", bucketName(of: key), key.bytes, record)
    }

    func setSummary(ofBucket index: Int, to text: [UInt8]) async throws {
      try await bench.run("HSET", bench.layout.bucket(index), "summary", text)
    }

    func setSchema(_ schema: Int) async throws { try await bench.run("HSET", bench.layout.meta, "schema", schema) }

    private func bucketName(of key: KeyID) -> String {
      bench.layout.bucket(key.bucket(of: StoreLayout.bucketCount))
    }
  }
}
