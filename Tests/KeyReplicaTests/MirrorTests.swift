import Testing

@testable import KeyReplica

@Suite struct MirrorTests {
  private let now = Instant(nanoseconds: 0)
  private let keys = (0..<12).map { KeyID(secret: "key \($0)".utf8) }
  private func record(_ account: String = "acme", _ state: KeyState = .active) -> KeyRecord {
    KeyRecord(state: state, since: 1, account: account)
  }

  private func populated() -> ModelStore {
    var store = ModelStore(bucketCount: 4)
    store.begin(with: Dictionary(uniqueKeysWithValues: keys.dropLast(2).map { ($0, record()) }), at: now)
    return store
  }

  private func manifest(of store: ModelStore) throws -> Manifest {
    guard case .found(let manifest) = store.manifest() else { throw NoManifest() }
    return manifest
  }
  private struct NoManifest: Error {}

  /// A mirror that has read the whole store.
  private func loaded(from store: ModelStore) throws -> Mirror {
    var mirror = Mirror(table: KeyTable(bucketCount: 4))
    let manifest = try manifest(of: store)
    for index in mirror.compare(with: manifest) {
      #expect(mirror.install(store.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) == nil)
    }
    #expect(mirror.finishedReading(of: manifest) == nil)
    return mirror
  }

  @Test func `it is complete when every bucket and the total have been verified`() throws {
    let store = populated()
    var mirror = Mirror(table: KeyTable(bucketCount: 4))
    let manifest = try manifest(of: store)
    let differing = mirror.compare(with: manifest)
    #expect(!mirror.isComplete)
    for index in differing {
      #expect(!mirror.isComplete)
      #expect(mirror.install(store.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) == nil)
    }
    #expect(mirror.finishedReading(of: manifest) == nil)
    #expect(mirror.isComplete && mirror.sealed && mirror.count == 10 && mirror.applied == 11)
    #expect(mirror.compare(with: manifest).isEmpty)
  }

  @Test func `changes are followed, and each is checked against bucket and total`() throws {
    var store = populated()
    var mirror = try loaded(from: store)
    store.put(keys[0], record("acme", .revoked), at: now)
    store.put(keys[11], record("other"), at: now)
    for change in store.changes(after: mirror.applied) { #expect(mirror.apply(change) == .applied) }
    #expect(mirror.isComplete && mirror.applied == 13 && mirror.count == 11)
    #expect(mirror.table.find(keys[0])?.state == .revoked)
    #expect(mirror.table.find(keys[11])?.account == "other")
  }

  @Test func `a bucket that was read later than the manifest makes it complete only at that version`() throws {
    var store = populated()
    var mirror = Mirror(table: KeyTable(bucketCount: 4))
    let manifest = try manifest(of: store)
    let differing = mirror.compare(with: manifest)
    // Two changes of one key: the first must not be applied to what has the second in it already.
    store.put(keys[0], record("acme", .suspended), at: now)
    store.put(keys[0], record("acme", .revoked), at: now)
    for index in differing {
      #expect(mirror.install(store.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) == nil)
    }
    #expect(mirror.finishedReading(of: manifest) == nil)
    #expect(!mirror.isComplete)
    let changes = store.changes(after: mirror.applied)
    #expect(mirror.apply(changes[0]) == .applied)
    #expect(!mirror.isComplete)
    #expect(mirror.table.find(keys[0])?.state == .revoked)
    #expect(mirror.apply(changes[1]) == .applied)
    #expect(mirror.isComplete)
  }

  @Test func `a missing, repeated or foreign change is told apart from the next one`() throws {
    var store = populated()
    var mirror = try loaded(from: store)
    store.put(keys[0], record("b"), at: now)
    store.put(keys[0], record("c"), at: now)
    let changes = store.changes(after: mirror.applied)
    #expect(mirror.apply(changes[1]) == .hole(expected: 12, came: 13))
    #expect(mirror.apply(changes[0]) == .applied)
    #expect(mirror.apply(changes[0]) == .hole(expected: 13, came: 12))
    var foreign = changes[1]
    foreign.epoch = "another"
    guard case .disagreement = mirror.apply(foreign) else {
      Issue.record("a change of another history was applied")
      return
    }
    #expect(mirror.apply(changes[1]) == .applied)
  }

  @Test func `a change whose bucket digest, total, bucket or record is wrong makes it incomplete`() throws {
    var store = populated()
    let at = store
    store.put(keys[0], record("b"), at: now)
    let good = try #require(store.stream.last)
    guard case .put(let id, let bytes, let bucket, var after) = good.effect else { throw NoManifest() }
    after.count += 1
    var total = good.total
    total.low ^= 1
    var wrong = [good, good, good, good, good]
    wrong[0].effect = .put(id, record: bytes, bucket: bucket, after: after)
    wrong[1].total = total
    wrong[2].effect = .put(id, record: bytes, bucket: (bucket + 1) % 4, after: after)
    wrong[3].effect = .put(id, record: Array("3 a".utf8), bucket: bucket, after: after)
    wrong[4].effect = .undecodable("who knows")
    for change in wrong {
      var mirror = try loaded(from: at)
      guard case .disagreement = mirror.apply(change) else {
        Issue.record("\(change) was applied")
        continue
      }
      #expect(!mirror.isComplete)
      // The mirror recovers when it is compared with an intact store.
      let manifest = try manifest(of: store)
      for index in mirror.compare(with: manifest) {
        #expect(mirror.install(store.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) == nil)
      }
      #expect(mirror.finishedReading(of: manifest) == nil)
      #expect(mirror.isComplete)
    }
  }

  @Test(arguments: ModelStore.Damage.allCases) func `a damaged bucket isn't taken over, and what it held stays`(
    damage: ModelStore.Damage
  ) throws {
    let well = populated()
    let bucket = keys[0].bucket(of: 4)
    var damaged = well
    damaged.damaged[bucket] = damage
    for fresh in [true, false] {
      var mirror = fresh ? Mirror(table: KeyTable(bucketCount: 4)) : try loaded(from: well)
      let manifest = try manifest(of: damaged)
      let differing = mirror.compare(with: manifest)
      #expect(
        fresh || differing == [bucket] || damage == .editedField || damage == .undecodableField
          || damage == .summaryFromTheFuture)
      var refusals = 0
      for index in differing
      where mirror.install(damaged.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) != nil {
        refusals += 1
      }
      let objection = mirror.finishedReading(of: manifest)
      // If the summary is unchanged, only reading the bucket shows the damage. That is what `verify` is for.
      let hidden = !fresh && differing.isEmpty
      // A bucket that says it is of a version that never came is waited for, until a position tells.
      #expect(hidden || refusals == 1 || objection != nil || mirror.floor > manifest.position.version)
      #expect(hidden || !mirror.isComplete)
      if !fresh { #expect(mirror.table.find(keys[0])?.account == "acme") }
    }
  }

  @Test func `a bucket that went back while it was read isn't taken over`() throws {
    var store = populated()
    var mirror = try loaded(from: store)
    store.put(keys[0], record("b"), at: now)
    let manifest = try manifest(of: store)
    let differing = mirror.compare(with: manifest)
    store.vanish(at: now)
    for index in differing {
      #expect(mirror.install(store.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) != nil)
    }
    #expect(mirror.table.find(keys[0])?.account == "acme")
    #expect(!mirror.isComplete)
  }

  @Test func `after a failover only what differs is read, and old versions keep no change out`() throws {
    var store = populated()
    for _ in 0..<20 { store.put(keys[0], record("b"), at: now) }
    var mirror = try loaded(from: store)
    // Another history, at a lower version, in which a bucket can't be read.
    store.begin(with: [keys[0]: record("c")], at: now)
    let bucket = keys[0].bucket(of: 4)
    let manifest = try manifest(of: store)
    let deadline = Instant(nanoseconds: 1000)
    let differing = mirror.compare(with: manifest, holdingUntil: deadline)
    #expect(differing.allSatisfy { mirror.table.heldUntil(bucket: $0) == deadline })
    for index in differing where index != bucket {
      #expect(mirror.install(store.bucket(index), asBucket: index, listedIn: manifest, admittedUntil: nil) == nil)
    }
    // Buckets that couldn't be read keep their age; the others are as fresh as the store.
    #expect((0..<4).filter { mirror.table.heldUntil(bucket: $0) != nil } == [bucket])
    #expect(mirror.table.find(keys[0])?.account == "b")
    store.put(keys[0], record("c", .revoked), at: now)
    for change in store.changes(after: mirror.applied) { #expect(mirror.apply(change) == .applied) }
    #expect(mirror.table.find(keys[0])?.state == .revoked)
    #expect(!mirror.isComplete)
    let again = try self.manifest(of: store)
    #expect(mirror.compare(with: again, holdingUntil: Instant(nanoseconds: 2000)) == [bucket])
    #expect(mirror.table.heldUntil(bucket: bucket) == deadline)
    #expect(mirror.install(store.bucket(bucket), asBucket: bucket, listedIn: again, admittedUntil: nil) == nil)
    #expect(mirror.table.heldUntil(bucket: bucket) == nil)
  }

  @Test func `an equal store of another epoch needs no reading and leaves nothing of the former`() throws {
    var store = populated()
    var mirror = try loaded(from: store)
    store.begin(with: store.current?.keys ?? [:], at: now)
    #expect(mirror.compare(with: try manifest(of: store)).isEmpty)
    #expect(mirror.isComplete && mirror.epoch == "epoch 2")
    #expect((0..<4).allSatisfy { mirror.table.heldUntil(bucket: $0) == nil })
  }

  @Test(arguments: ModelStore.Damage.allCases) func `an audit finds what the summaries and lengths tell`(
    damage: ModelStore.Damage
  ) throws {
    var store = populated()
    let mirror = try loaded(from: store)
    #expect(mirror.audit(against: try manifest(of: store)).isEmpty)
    store.damaged[keys[0].bucket(of: 4)] = damage
    let found = mirror.audit(against: try manifest(of: store))
    switch damage {
    // The summary is as it was, and so is the length: only reading every record can tell, which is what `verify` does.
    case .editedField, .undecodableField: #expect(found.isEmpty)
    default: #expect(found == [keys[0].bucket(of: 4)])
    }
  }

  @Test func `an audit doesn't mistake what is on its way for a disagreement`() throws {
    var store = populated()
    var mirror = try loaded(from: store)
    let older = try manifest(of: store)
    store.put(keys[0], record("b"), at: now)
    store.put(keys[1], record("b"), at: now)
    let newer = try manifest(of: store)
    #expect(mirror.audit(against: newer).isEmpty)
    for change in store.changes(after: mirror.applied) { #expect(mirror.apply(change) == .applied) }
    #expect(mirror.audit(against: older).isEmpty)
    #expect(mirror.audit(against: newer).isEmpty)
  }
}

extension Mirror {
  fileprivate mutating func compare(with manifest: Manifest) -> [Int] { compare(with: manifest, holdingUntil: nil) }
}
