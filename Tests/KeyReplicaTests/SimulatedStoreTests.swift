// The simulated store passes the scenarios that the real one passes in KeyStoreTests.

import KeyReplica
import SimulatedStore
import Testing

@Suite struct SimulatedStoreTests {
  @Test(arguments: StoreConformance.scenarios) func `the simulated store does as the real one`(
    scenario: StoreScenario
  ) async throws {
    try await scenario.run(Subject())
  }

  private final class Subject: ConformingStore {
    private var store = SimulatedStore(bucketCount: 1024)
    private var epochs = 0
    /// In microseconds since 1970.
    private var clock: UInt64 = 1_763_683_200_000_000
    var bucketCount: Int { store.bucketCount }

    private func epoch() -> String {
      epochs += 1
      return "epoch \(epochs)"
    }

    func apply(_ edits: [StoreEdit], basedOn basis: UInt64?) throws -> StoreOutcome {
      try store.publish(edits, basedOn: basis, now: 7, newEpoch: epoch())
    }

    func applyAtOnce(_ edits: [StoreEdit]) throws -> [StoreOutcome] {
      // Each finds no store before any of them begins one.
      for _ in edits { try store.create(epoch: epoch()) }
      return try edits.map { try store.apply([$0], now: 7) }
    }

    func purge(_ keys: [KeyID], revokedBefore moment: Int64) throws -> StoreOutcome {
      try store.purge(keys, revokedBefore: moment)
    }

    func seal(mayBeEmpty: Bool) throws -> SealOutcome {
      if mayBeEmpty { try store.create(epoch: epoch()) }
      return try store.seal(mayBeEmpty: mayBeEmpty)
    }

    func position() -> StoreAnswer<StorePosition> { store.position(at: time()) }
    func manifest() -> StoreAnswer<Manifest> { store.manifest() }
    func bucket(_ index: Int) -> RawBucket { store.bucket(index) }
    func changes(after version: UInt64, atMost limit: Int) -> [Change] { store.changes(after: version, atMost: limit) }
    func confirmRemovals() throws { try store.confirmRemovals() }
    func confirm(unknownKeys number: Int) throws { try store.confirm(unknownKeys: number) }
    func time() -> UInt64 {
      clock += 1_000
      return clock
    }
    func mark(_ moment: UInt64, of epoch: String, at version: UInt64, digest: Digest) throws -> Bool {
      try store.mark(moment, of: epoch, at: version, digest: digest, now: time())
    }
    func setSourceMaxAge(_ maxAge: Duration?) throws { try store.setSourceMaxAge(maxAge) }
    func declare(replicas: Int) throws { try store.declare(replicas: replicas) }
    func name(_ name: String) throws -> Bool { try store.name(name).name == name }
    func adopt(_ other: String) throws { try store.adopt(other) }
    func rebuild() throws { try store.rebuild(newEpoch: epoch()) }
    func rebuildHalf() {
      store.beginRebuild()
      for index in 0..<bucketCount / 2 { store.rebuild(bucket: index) }
    }
    func flush() { store.flush() }
    func trim(to count: Int) { store.trim(to: count) }
    func deleteMeta() { store.deleteMeta() }
    func deleteBucket(_ index: Int) { store.deleteBucket(index) }
    func removeField(of key: KeyID) { store.removeField(of: key) }
    func setField(of key: KeyID, to record: [UInt8]) { store.setField(of: key, to: record) }
    func setSummary(ofBucket index: Int, to text: [UInt8]) { store.setSummary(ofBucket: index, to: text) }
    func setSchema(_ schema: Int) { store.setSchema(schema) }
  }
}
