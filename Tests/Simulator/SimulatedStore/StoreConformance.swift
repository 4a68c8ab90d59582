// What a key store does, as scenarios that the simulated store and the real one on Redis both pass. What the simulator finds
// is worth as much as its store is like the real one; this is where that is held.
//
// Every scenario begins with an empty store. What it expects is worked out from what was asked for and from the records that come back,
// never from another part of the same store: digests are computed here.

public import KeyReplica

/// A store under test, simulated or real. Its methods throw what isn't an answer; ``StoreRefusal`` where the store says no.
public protocol ConformingStore {
  var bucketCount: Int { get }
  /// Begins the store where there is none and something is put.
  func apply(_ edits: [StoreEdit], basedOn basis: UInt64?) async throws -> StoreOutcome
  /// The same by this number of publishers at once, one edit each.
  func applyAtOnce(_ edits: [StoreEdit]) async throws -> [StoreOutcome]
  /// Removes the records of keys that have been revoked since before a moment.
  func purge(_ keys: [KeyID], revokedBefore moment: Int64) async throws -> StoreOutcome
  func seal(mayBeEmpty: Bool) async throws -> SealOutcome
  func position() async throws -> StoreAnswer<StorePosition>
  func manifest() async throws -> StoreAnswer<Manifest>
  func bucket(_ index: Int) async throws -> RawBucket
  func changes(after version: UInt64, atMost limit: Int) async throws -> [Change]
  /// Says that all removals up to here are meant.
  func confirmRemovals() async throws
  /// Confirms a number of distinct unknown keys.
  func confirm(unknownKeys number: Int) async throws
  /// Redis's time, in microseconds since 1970. It moves on between two calls.
  func time() async throws -> UInt64
  /// Marks the store as equal to the source as of a moment, under a lease.
  /// - Returns: Whether the mark was written.
  func mark(_ moment: UInt64, of epoch: String, at version: UInt64, digest: Digest) async throws -> Bool
  /// Sets the maximum age of the mark; nil for none.
  func setSourceMaxAge(_ maxAge: Duration?) async throws
  /// Says how many replicas could take the server's place.
  func declare(replicas: Int) async throws
  /// Names the store, unless it has a name.
  /// - Returns: Whether it has this name then.
  func name(_ name: String) async throws -> Bool
  /// Says that the store replaces another one.
  func adopt(_ other: String) async throws
  /// Takes the store as it is, without what can't be read.
  func rebuild() async throws
  /// The same, killed when half of the buckets were done.
  func rebuildHalf() async throws
  // Past the scripts, as with redis-cli.
  func flush() async throws
  func trim(to count: Int) async throws
  func deleteMeta() async throws
  func deleteBucket(_ index: Int) async throws
  func removeField(of key: KeyID) async throws
  func setField(of key: KeyID, to record: [UInt8]) async throws
  func setSummary(ofBucket index: Int, to text: [UInt8]) async throws
  func setSchema(_ schema: Int) async throws
}

/// A store that does something else than expected.
public struct Nonconformance: Error, CustomStringConvertible {
  public let description: String
}

/// One of the things that a store must do.
public struct StoreScenario: Sendable, CustomStringConvertible {
  public let description: String
  public let run: @Sendable (any ConformingStore) async throws -> Void

  init(_ description: String, _ run: @escaping @Sendable (any ConformingStore) async throws -> Void) {
    self.description = description
    self.run = run
  }
}

func expect(_ holds: Bool, _ what: @autoclosure () -> String) throws {
  if !holds { throw Nonconformance(description: what()) }
}

func expectEqual<Value: Equatable>(_ came: Value, _ expected: Value, _ what: String) throws {
  try expect(came == expected, "\(what): expected \(expected), got \(came)")
}

func put(
  _ secret: String, _ account: String = "acme", _ state: KeyState? = .active,
  allowing: StoreEdit.Permissions = .everything, revision: UInt64? = nil, expiry: StoreEdit.Expiry = .keep
) -> StoreEdit {
  StoreEdit(
    key: key(secret), kind: .put(account: account, state), allowing: allowing, revision: revision, expiry: expiry)
}

func set(
  _ secret: String, _ state: KeyState, allowing: StoreEdit.Permissions = [], revision: UInt64? = nil
) -> StoreEdit {
  StoreEdit(key: key(secret), kind: .setState(state), allowing: allowing, revision: revision)
}

func key(_ secret: String) -> KeyID { KeyID(secret: secret.utf8) }

extension ConformingStore {
  func apply(_ edits: [StoreEdit]) async throws -> StoreOutcome { try await apply(edits, basedOn: nil) }

  func record(of secret: String) async throws -> KeyRecord {
    let raw = try await bucket(bucket(of: secret))
    guard let field = raw.fields.first(where: { $0.id == key(secret).bytes }) else {
      throw Nonconformance(description: "\(secret) has no record")
    }
    return try KeyRecord(decoding: field.record)
  }

  func found() async throws -> StorePosition {
    guard case .found(let position) = try await position() else {
      throw Nonconformance(description: "expected a store, but there is none")
    }
    return position
  }

  func foundManifest() async throws -> Manifest {
    guard case .found(var manifest) = try await manifest() else {
      throw Nonconformance(description: "expected a manifest, but there is none")
    }
    // A server's clock, and not the store's.
    manifest.position.time = nil
    return manifest
  }

  func bucket(of secret: String) -> Int { key(secret).bucket(of: bucketCount) }

  func refusal(_ body: () async throws -> Void) async throws -> StoreRefusal.Code? {
    do {
      try await body()
      return nil
    } catch let refusal as StoreRefusal {
      return refusal.code
    }
  }

  /// Counts all records, and compares what the store says of itself with that.
  func expectSound(version: UInt64, records expected: [String: (KeyState, String)]) async throws {
    let manifest = try await foundManifest()
    var alone = try await found()
    alone.source.readAt = nil
    try expectEqual(alone, manifest.position, "the position read alone")
    var (count, total, latest) = (0, Digest.empty, UInt64(0))
    var held: [KeyID: (KeyState, String)] = [:]
    for index in manifest.buckets.indices where manifest.lengths[index] > 0 || manifest.buckets[index] != .empty {
      let raw = try await bucket(index)
      var digest = Digest.empty
      for (name, value) in raw.fields {
        guard let id = KeyID(bytes: name) else { throw Nonconformance(description: "a field isn't a key id") }
        let record = try KeyRecord(decoding: value)
        held[id] = (record.state, record.account)
        digest ^= Digest(of: id, record: value)
      }
      let summary = raw.summary.flatMap { BucketSummary(decoding: $0) }
      try expectEqual(summary, manifest.buckets[index] ?? nil, "bucket \(index)'s summary in it and in the manifest")
      try expectEqual(summary?.count, raw.fields.count, "bucket \(index)'s count")
      try expectEqual(summary?.digest, digest, "bucket \(index)'s digest")
      try expectEqual(manifest.lengths[index], raw.fields.count, "bucket \(index)'s length")
      count += raw.fields.count
      total ^= digest
      latest = max(latest, summary?.version ?? 0)
    }
    try expectEqual(manifest.position.version, version, "the version")
    try expectEqual(manifest.position.count, count, "the count")
    try expectEqual(manifest.position.digest, total, "the total digest")
    try expect(latest <= version, "a bucket is at version \(latest), the store at \(version)")
    try expect(manifest.fitsTogether, "the manifest doesn't add up")
    try expectEqual(held.count, expected.count, "the number of records")
    for (secret, (state, account)) in expected {
      try expect(held[key(secret)] ?? (.revoked, "") == (state, account), "\(secret) isn't \(state) for \(account)")
    }
  }
}

public enum StoreConformance {
  public static let scenarios = basics + lateChanges + expiries

  private static let basics: [StoreScenario] = [
    StoreScenario("where nothing was written there is no store") { store in
      try expectEqual(try await store.position(), .noStore, "the position")
      try expectEqual(try await store.manifest(), .noStore, "the manifest")
      try expectEqual(try await store.changes(after: 0, atMost: 10), [], "the changes")
      try expectEqual(try await store.bucket(0), RawBucket(summary: nil, fields: []), "a bucket")
      let outcome = try await store.apply([set("nobody's", .revoked)])
      try expectEqual([outcome.missing, Int(outcome.version)], [1, 0], "missing, and the version")
      try expectEqual(try await store.position(), .noStore, "the position after a change of nobody's key")
    },
    StoreScenario("a store begins whole, with a summary in every bucket") { store in
      _ = try await store.apply([put("a")])
      let manifest = try await store.foundManifest()
      for (index, summary) in manifest.buckets.enumerated() where index != store.bucket(of: "a") {
        try expectEqual(summary, .empty, "the summary of bucket \(index)")
        try expectEqual(manifest.lengths[index], 0, "the length of bucket \(index)")
      }
      try expectEqual(try await store.changes(after: 0, atMost: 10).map(\.version), [1], "the changes")
      try await store.expectSound(version: 1, records: ["a": (.active, "acme")])
    },
    StoreScenario("publishers that begin a store at once begin one history") { store in
      let secrets = (0..<8).map { "key \($0)" }
      let outcomes = try await store.applyAtOnce(secrets.map { put($0) })
      try expectEqual(outcomes.map(\.changed), secrets.map { _ in 1 }, "changed")
      try expectEqual(Set(outcomes.map(\.epoch)), [try await store.found().epoch], "the epochs")
      try expectEqual(outcomes.map(\.version).sorted(), Array(1...8), "the versions")
      try await store.expectSound(
        version: 8, records: Dictionary(uniqueKeysWithValues: secrets.map { ($0, (.active, "acme")) }))
    },
    StoreScenario("a store whose meta was deleted isn't begun anew over what is left of it") { store in
      _ = try await store.apply([put("a")])
      let before = try await store.bucket(store.bucket(of: "a"))
      try await store.deleteMeta()
      try expectEqual(try await store.position(), .noStore, "the position")
      let other = (0...).lazy.map { "n\($0)" }.first { store.bucket(of: $0) != store.bucket(of: "a") } ?? ""
      for edit in [put("a"), put(other), set("a", .revoked), set(other, .revoked)] {
        try expectEqual(try await store.refusal { _ = try await store.apply([edit]) }, .broken, "writing")
      }
      for mayBeEmpty in [false, true] {
        let code = try await store.refusal { _ = try await store.seal(mayBeEmpty: mayBeEmpty) }
        try expectEqual(code, .broken, "sealing")
      }
      try expectEqual(try await store.refusal { try await store.confirmRemovals() }, .broken, "confirming")
      try expectEqual(try await store.position(), .noStore, "the position after all that")
      try expectEqual(try await store.bucket(store.bucket(of: "a")), before, "the bucket")
    },
    StoreScenario("an edit says what became of it, and everything adds up afterwards") { store in
      var outcome = try await store.apply([put("a"), put("b"), set("nobody's", .revoked)])
      try expectEqual([outcome.changed, outcome.unchanged, outcome.missing], [2, 0, 1], "changed, unchanged, missing")
      try expectEqual(outcome.version, 2, "the version")
      let epoch = outcome.epoch
      outcome = try await store.apply([put("a"), put("b", "other"), set("a", .active), set("b", .suspended)])
      try expectEqual([outcome.changed, outcome.unchanged, outcome.missing], [2, 2, 0], "changed, unchanged, missing")
      try expectEqual(outcome.epoch, epoch, "the epoch")
      try await store.expectSound(version: 4, records: ["a": (.active, "acme"), "b": (.suspended, "other")])
    },
    StoreScenario("each change is in the stream, with what its bucket and the store are after it") { store in
      let secrets = (0..<20).map { "key \($0)" }
      _ = try await store.apply(secrets.map { put($0) })
      _ = try await store.apply([set("key 3", .revoked), set("key 4", .suspended), put("key 3", "other")])
      let all = try await store.changes(after: 0, atMost: 100)
      try expectEqual(all.map(\.version), Array(1...23), "the versions")
      var records: [KeyID: Digest] = [:]
      for change in all {
        guard case .put(let id, let record, let bucket, let after) = change.effect else {
          throw Nonconformance(description: "expected puts, got \(change)")
        }
        records[id] = Digest(of: id, record: record)
        let own = records.filter { $0.key.bucket(of: store.bucketCount) == bucket }
        try expectEqual(bucket, id.bucket(of: store.bucketCount), "the bucket of \(id)")
        try expectEqual(after.count, own.count, "the bucket's count after change \(change.version)")
        try expectEqual(after.digest, own.values.reduce(into: .empty) { $0 ^= $1 }, "its digest")
        try expectEqual(after.version, change.version, "its version")
        try expectEqual(change.total, records.values.reduce(into: .empty) { $0 ^= $1 }, "the total")
      }
      try expectEqual(try await store.changes(after: 21, atMost: 1).map(\.version), [22], "one change after 21")
      try expectEqual(try await store.changes(after: 23, atMost: 10), [], "the changes after the last")
    },
    StoreScenario("sealing is one change, done once, and not of an empty store unless told so") { store in
      try expectEqual(
        try await store.refusal { _ = try await store.seal(mayBeEmpty: false) }, .absent, "sealing nothing")
      try expectEqual(try await store.position(), .noStore, "the position")
      _ = try await store.apply([put("a"), put("b")])
      try expect(try await !store.found().sealed, "it is sealed before it was")
      let first = SealOutcome(version: 3, keys: 2, already: false)
      try expectEqual(try await store.seal(mayBeEmpty: false), first, "sealing")
      let again = SealOutcome(version: 3, keys: 2, already: true)
      try expectEqual(try await store.seal(mayBeEmpty: false), again, "sealing again")
      let last = try await store.changes(after: 2, atMost: 10)
      try expectEqual(last.map(\.effect), [.seal], "the last change")
      try expectEqual(last.first?.total, try await store.found().digest, "its total")
      try expect(try await store.found().sealed, "it isn't sealed")
      _ = try await store.apply([put("c")])
      try expect(try await store.found().sealed, "it isn't sealed any more")
    },
    StoreScenario("a store that was flushed begins another history, and may be sealed empty") { store in
      let epoch = try await store.apply([put("a")]).epoch
      try await store.flush()
      try expectEqual(try await store.position(), .noStore, "the position")
      try expectEqual(try await store.changes(after: 0, atMost: 10), [], "the changes")
      let sealed = try await store.seal(mayBeEmpty: true)
      try expectEqual(sealed, SealOutcome(version: 1, keys: 0, already: false), "sealing")
      try expect(try await store.found().epoch != epoch, "the epoch is the former one")
      try await store.expectSound(version: 1, records: [:])
    },
    StoreScenario("a trimmed stream has a hole in its numbers, and writing goes on") { store in
      _ = try await store.apply((0..<10).map { put("key \($0)") })
      try await store.trim(to: 3)
      try expectEqual(try await store.changes(after: 2, atMost: 10).map(\.version), [8, 9, 10], "after 2")
      try await store.trim(to: 0)
      try expectEqual(try await store.changes(after: 0, atMost: 10), [], "the changes")
      _ = try await store.apply([put("more")])
      try expectEqual(try await store.changes(after: 0, atMost: 10).map(\.version), [11], "the changes")
    },
    StoreScenario("a confirmation of removals is a change") { store in
      try expectEqual(try await store.refusal { try await store.confirmRemovals() }, .absent, "without a store")
      _ = try await store.apply([put("a")])
      try await store.confirmRemovals()
      let position = try await store.found()
      try expectEqual([position.version, position.announced, position.confirmed], [2, 0, 2], "the numbers")
      try expectEqual(try await store.changes(after: 1, atMost: 10).map(\.effect), [.confirm], "the changes")
      try await store.expectSound(version: 2, records: ["a": (.active, "acme")])
    },
    StoreScenario("how many unknown keys are right is no change, and is forgotten by a rebuild") { store in
      try expectEqual(
        try await store.refusal { try await store.confirm(unknownKeys: 1) }, .absent, "without a store")
      _ = try await store.apply([put("a")])
      try expectEqual(try await store.found().confirmedUnknown, 0, "what nobody confirmed")
      for number in [12, RecentKeyCounts.confirmedLimit, 0, 7] {
        try await store.confirm(unknownKeys: number)
        try expectEqual(try await store.found().confirmedUnknown, number, "the number")
      }
      let manifest = try await store.foundManifest()
      try expectEqual(manifest.position.confirmedUnknown, 7, "the manifest's number")
      try await store.expectSound(version: 1, records: ["a": (.active, "acme")])
      try await store.rebuild()
      try expectEqual(try await store.found().confirmedUnknown, 0, "after a rebuild")
    },
    StoreScenario("the source mark is read with its version and the time, and is lost by a rebuild") { store in
      try expectEqual(
        try await store.refusal { try await store.setSourceMaxAge(.seconds(60)) }, .absent, "without a store")
      let (before, early) = (try await store.apply([put("a")]), try await store.time())
      try expectEqual(
        [try await store.found().source.moment, try await store.found().source.version], [nil, nil], "no mark")
      var digest = try await store.found().digest
      // Marks that the store must reject: of another version, of another epoch, with another digest at the same
      // version, and in the future (as if Redis's clock was set back).
      for (moment, epoch, version, digest) in [
        (early, before.epoch, before.version + 1, digest), (early, before.epoch, before.version - 1, digest),
        (early, "another", before.version, digest), (early, before.epoch, before.version, Digest.empty),
        (early + 3_600_000_000, before.epoch, before.version, digest),
      ] {
        let isWritten = try await store.mark(moment, of: epoch, at: version, digest: digest)
        try expect(!isWritten, "a mark was written for \(epoch) \(version)")
      }
      try expectEqual(try await store.found().source.moment, nil, "no mark")
      let isMarked = try await store.mark(early, of: before.epoch, at: before.version, digest: digest)
      try expect(isMarked, "no mark was written")
      try await store.setSourceMaxAge(.seconds(60))
      var mark = try await store.found().source
      try expectEqual([mark.moment, mark.version], [early, before.version], "the mark")
      try expect(mark.maxAge == .seconds(60) && mark.isWithinBound && mark.flaw == nil, "the bound is \(mark)")
      try expect(mark.readAt.map { $0 > early } ?? false, "the time is \(mark)")
      // A change leaves the mark with the version that it is of.
      _ = try await store.apply([put("b")])
      let later = try await store.time()
      let isWritten = try await store.mark(later, of: before.epoch, at: before.version, digest: digest)
      digest = try await store.found().digest
      try expect(!isWritten, "a former version was marked")
      let changed = try await store.found()
      try expectEqual([changed.version, changed.source.version], [2, 1], "the versions")
      let isMarkedAgain = try await store.mark(later, of: before.epoch, at: 2, digest: digest)
      try expect(isMarkedAgain, "the present version wasn't marked")
      let manifest = try await store.foundManifest().position.source
      try expectEqual([manifest.moment, manifest.version, manifest.readAt], [later, 2, nil], "the manifest's mark")
      try expectEqual(manifest.maxAge, .seconds(60), "the manifest's bound")
      try await store.expectSound(version: 2, records: ["a": (.active, "acme"), "b": (.active, "acme")])
      try await store.rebuild()
      mark = try await store.found().source
      try expectEqual([mark.moment, mark.version], [nil, nil], "after a rebuild")
      try expect(mark.maxAge == .seconds(60) && !mark.isWithinBound, "the bound is gone after a rebuild")
      try expect(!mark.saysNoLimit, "it says that there is no bound")
      try await store.setSourceMaxAge(nil)
      // Unlike a store that was flushed, it says so.
      try expect(try await store.found().source.saysNoLimit, "it doesn't say that there is no bound")
      try await store.rebuild()
      try expect(try await store.found().source.saysNoLimit, "it doesn't say so after a rebuild")
      try expect(try await store.found().source.isWithinBound, "the bound wasn't taken back")
    },
    StoreScenario("what was revoked before a moment is purged, and nothing else") { store in
      try expectEqual(
        try await store.refusal { _ = try await store.purge([key("a")], revokedBefore: .max) }, .absent,
        "without a store")
      _ = try await store.apply(
        [put("a"), put("active"), put("suspended", "acme", .suspended), put("revoked", "acme", .revoked)])
      _ = try await store.apply([set("a", .revoked)])
      let raw = try await store.bucket(store.bucket(of: "a"))
      guard let field = raw.fields.first(where: { $0.id == key("a").bytes }) else {
        throw Nonconformance(description: "a revoked key has no record")
      }
      let since = try KeyRecord(decoding: field.record).since
      let keys = ["a", "active", "suspended", "nobody's"].map { key($0) }
      var outcome = try await store.purge(keys, revokedBefore: since)
      try expectEqual([outcome.changed, outcome.unchanged, outcome.missing], [0, 3, 1], "changed, unchanged, missing")
      try expectEqual(outcome.version, 5, "the version")
      outcome = try await store.purge(keys + [key("a")], revokedBefore: since + 1)
      try expectEqual([outcome.changed, outcome.unchanged, outcome.missing], [1, 2, 2], "changed, unchanged, missing")
      try expectEqual(outcome.version, 6, "the version")
      let left: [String: (KeyState, String)] = [
        "active": (.active, "acme"), "suspended": (.suspended, "acme"), "revoked": (.revoked, "acme"),
      ]
      try await store.expectSound(version: 6, records: left)
      let changes = try await store.changes(after: 5, atMost: 10)
      guard changes.count == 1, case .purge(key("a"), let bucket, let after) = changes[0].effect else {
        throw Nonconformance(description: "expected one purge, got \(changes)")
      }
      let manifest = try await store.foundManifest()
      try expectEqual(bucket, store.bucket(of: "a"), "the bucket")
      try expectEqual(after, manifest.buckets[bucket], "the bucket's summary after it")
      try expectEqual(changes[0].total, manifest.position.digest, "the total after it")
      try expectEqual(try await store.apply([put("a")]).changed, 1, "putting it again")
      try expectEqual(try await store.apply([set("nobody's", .revoked)]).missing, 1, "missing")
    },
    StoreScenario("a record that can't be relied on isn't purged") { store in
      _ = try await store.apply([put("a", "acme", .revoked), put("b", "acme", .revoked)])
      try await store.setField(of: key("a"), to: Array("revoked".utf8))
      try expectEqual(try await store.purge([key("a")], revokedBefore: .max).results, ["d-"], "the result")
      try await store.deleteBucket(store.bucket(of: "a"))
      let code = try await store.refusal { _ = try await store.purge([key("b"), key("a")], revokedBefore: .max) }
      try expectEqual(code, .broken, "purging with a bucket that is gone")
      try expectEqual(try await store.found().version, 2, "the version")
    },
    StoreScenario("how many replicas there are is said once, and is no change") { store in
      try expectEqual(try await store.refusal { try await store.declare(replicas: 1) }, .absent, "without a store")
      _ = try await store.apply([put("a")])
      try expectEqual(try await store.found().replicas, nil, "replicas that nobody declared")
      for replicas in [2, 0] {
        try await store.declare(replicas: replicas)
        try expectEqual(try await store.found().replicas, replicas, "the replicas")
      }
      try await store.expectSound(version: 1, records: ["a": (.active, "acme")])
      try expectEqual(try await store.changes(after: 1, atMost: 10), [], "the changes")
    },
    StoreScenario("a store's ID is its first epoch, and stays with its name and what it replaces") { store in
      try expectEqual(try await store.refusal { try await store.adopt("old") }, .absent, "without a store")
      _ = try await store.apply([put("a")])
      let first = try await store.found()
      try expectEqual(first.store, StoreIdentity(id: first.epoch), "the identity of a new store")
      try expect(try await store.name("production"), "it can't be named")
      try expect(try await store.name("production"), "it lost its name")
      try expect(try await !store.name("staging"), "it was named again")
      for number in 0..<9 { try await store.adopt("store-\(number)") }
      try await store.adopt("store-4")
      let adopted = [4, 8, 7, 6, 5, 3, 2, 1].map { "store-\($0)" }
      try expectEqual(try await store.found().adopted, adopted, "what it replaces")
      try expectEqual(try await store.found().version, first.version, "the version after that")
      try await store.rebuild()
      let second = try await store.found()
      try expect(second.epoch != first.epoch, "a rebuilt store has the same history")
      try expectEqual(
        second.store, StoreIdentity(id: first.epoch, name: "production"), "the identity of a rebuilt store")
      try expectEqual(second.adopted, adopted, "what a rebuilt store replaces")
    },
    StoreScenario("a record that was taken out by hand is missed in the length, and sealing is refused") { store in
      _ = try await store.apply([put("a"), put("b")])
      try await store.removeField(of: key("a"))
      let manifest = try await store.foundManifest()
      let index = store.bucket(of: "a")
      try expectEqual((manifest.buckets[index] ?? nil)?.count ?? 0, manifest.lengths[index] + 1, "the summary's count")
      try expect(manifest.fitsTogether, "the summaries don't add up")
      try expectEqual(try await store.refusal { _ = try await store.seal(mayBeEmpty: false) }, .broken, "sealing")
      // For the script it is a new key: the count of its bucket is wrong for good.
      try expectEqual(try await store.apply([set("a", .revoked)]).missing, 1, "missing")
      try expectEqual(try await store.apply([put("a")]).changed, 1, "changed")
      try expectEqual(try await store.found().count, 3, "the count")
    },
    StoreScenario("a record that was edited by hand keeps its bucket's digest wrong") { store in
      _ = try await store.apply([put("a")])
      let before = try await store.found().digest
      try await store.setField(of: key("a"), to: Array("1 r 7 somebody else".utf8))
      try expectEqual(try await store.found().digest, before, "the digest")
      // The account stays what the hand made it.
      try expectEqual(try await store.apply([set("a", .revoked)]).unchanged, 1, "unchanged")
      try expectEqual(try await store.apply([set("a", .active, allowing: .reactivate)]).changed, 1, "changed")
      let raw = try await store.bucket(store.bucket(of: "a"))
      try expectEqual(try KeyRecord(decoding: raw.fields[0].record).account, "somebody else", "the account")
      let own = Digest(of: key("a"), record: raw.fields[0].record)
      try expect(raw.summary.flatMap { BucketSummary(decoding: $0) }?.digest != own, "the digest fits again")
      try await store.setField(of: key("a"), to: Array("active".utf8))
      try expectEqual(try await store.apply([set("a", .revoked), put("a")]).results, ["d-", "d-"], "unreadable")
    },
    StoreScenario("a bucket that was deleted is missed, and neither written to nor sealed") { store in
      _ = try await store.apply([put("a"), put("b")])
      let empty = (0..<store.bucketCount).first { ![store.bucket(of: "a"), store.bucket(of: "b")].contains($0) } ?? 0
      let neighbour = (0...).lazy.map { "n\($0)" }.first { store.bucket(of: $0) == empty } ?? ""
      for (index, secret) in [(store.bucket(of: "a"), "a"), (empty, neighbour)] {
        try await store.deleteBucket(index)
        let manifest = try await store.foundManifest()
        try expect(manifest.buckets[index] == nil, "a summary of bucket \(index) was read")
        try expectEqual(manifest.lengths[index], 0, "the length of bucket \(index)")
        try expectEqual(try await store.bucket(index), RawBucket(summary: nil, fields: []), "bucket \(index)")
        for edit in [put(secret), set(secret, .revoked)] {
          try expectEqual(try await store.refusal { _ = try await store.apply([edit]) }, .broken, "writing")
        }
        try expectEqual(try await store.refusal { _ = try await store.seal(mayBeEmpty: false) }, .broken, "sealing")
      }
      try expectEqual(try await store.apply([put("b", "other")]).changed, 1, "changes elsewhere")
    },
    StoreScenario("a store that was damaged is taken as it is, as another history") { store in
      // Each kind of damage, and which of the keys are left.
      let other = (0...).lazy.map { "n\($0)" }.first { store.bucket(of: $0) != store.bucket(of: "a") } ?? ""
      let kinds: [(String, left: [String], () async throws -> Void)] = [
        ("a bucket deleted", [other], { try await store.deleteBucket(store.bucket(of: "a")) }),
        ("a record deleted", [other], { try await store.removeField(of: key("a")) }),
        ("a record edited", ["a", other], { try await store.setField(of: key("a"), to: Array("1 r 7 acme".utf8)) }),
        ("a record unreadable", [other], { try await store.setField(of: key("a"), to: Array("active".utf8)) }),
        ("a summary unreadable", ["a", other], { try await store.setSummary(ofBucket: 3, to: Array("many".utf8)) }),
        (
          "a summary of the future", ["a", other],
          { try await store.setSummary(ofBucket: 3, to: Array("0 \(Digest.empty.hex) 99".utf8)) }
        ),
        ("meta deleted", ["a", other], { try await store.deleteMeta() }),
        ("nothing", ["a", other], {}),
      ]
      for (name, left, damage) in kinds {
        try await store.flush()
        let epoch = try await store.apply([put("a"), put(other)]).epoch
        _ = try await store.apply([set("a", .suspended, allowing: .end)])
        _ = try await store.apply([put("a")])
        try await damage()
        try await store.rebuild()
        let position = try await store.found()
        try expect(position.sealed && position.epoch != epoch, "after \(name) it isn't sealed, or the former history")
        try expectEqual(position.announced, 0, "the announced removals after \(name)")
        let version: UInt64 = name == "a summary of the future" ? 100 : 5
        let records: [(String, (KeyState, String))] = left.map {
          ($0, (name == "a record edited" && $0 == "a" ? .revoked : .active, "acme"))
        }
        try await store.expectSound(version: version, records: Dictionary(uniqueKeysWithValues: records))
        let changes = try await store.changes(after: 0, atMost: 10)
        try expectEqual(changes.map(\.effect), [.seal], "the changes after \(name)")
        try expectEqual(changes.first?.version, version, "the change's version")
        try expectEqual(changes.first?.epoch, position.epoch, "the change's epoch")
        try expectEqual(try await store.apply([put("more")]).version, version + 1, "the next version")
      }
    },
    StoreScenario("while a store is rebuilt it is closed, and stays so until that is done") { store in
      _ = try await store.apply([put("a"), put("b")])
      try await store.declare(replicas: 0)
      try await store.deleteBucket(store.bucket(of: "a"))
      for _ in 0..<2 {
        try await store.rebuildHalf()
        guard case .incompatible = try await store.position(), case .incompatible = try await store.manifest() else {
          throw Nonconformance(description: "a store that is being rebuilt was taken for something else")
        }
        for edit in [put("b"), set("b", .revoked)] {
          try expectEqual(try await store.refusal { _ = try await store.apply([edit]) }, .rebuilding, "writing")
        }
        for mayBeEmpty in [false, true] {
          let code = try await store.refusal { _ = try await store.seal(mayBeEmpty: mayBeEmpty) }
          try expectEqual(code, .rebuilding, "sealing")
        }
        try expectEqual(try await store.refusal { try await store.confirmRemovals() }, .rebuilding, "confirming")
      }
      try await store.rebuild()
      try await store.expectSound(version: try await store.found().version, records: ["b": (.active, "acme")])
      try expectEqual(try await store.found().replicas, 0, "the replicas")
    },
    StoreScenario("what can't be relied on isn't written to, not even in part") { store in
      _ = try await store.apply([put("a")])
      let index = store.bucket(of: "a")
      let other = (0...).lazy.map { "n\($0)" }.first { store.bucket(of: $0) != index } ?? ""
      let good = try await store.bucket(index).summary ?? []
      for text in ["many", "1 2", "1 \(Digest.empty.hex) 99"] {
        try await store.setSummary(ofBucket: index, to: Array(text.utf8))
        let code = try await store.refusal { _ = try await store.apply([put(other), put("a", "other")]) }
        try expectEqual(code, .broken, "writing with the summary \(text)")
        try expectEqual(try await store.refusal { _ = try await store.seal(mayBeEmpty: false) }, .broken, "sealing")
        try expectEqual(try await store.found().version, 1, "the version")
      }
      try expectEqual(try await store.foundManifest().buckets[index]?.version, 99, "the last summary's version")
      try await store.setSummary(ofBucket: index, to: Array("many".utf8))
      try expect(try await store.foundManifest().buckets[index] == nil, "an unreadable summary was read")
      try await store.setSummary(ofBucket: index, to: good)
      try await store.expectSound(version: 1, records: ["a": (.active, "acme")])
    },
    StoreScenario("a store of another schema is neither read nor written") { store in
      _ = try await store.apply([put("a")])
      try await store.setSchema(3)
      guard case .incompatible = try await store.position(), case .incompatible = try await store.manifest() else {
        throw Nonconformance(description: "another schema was taken for something else")
      }
      try expectEqual(try await store.refusal { _ = try await store.apply([put("b")]) }, .otherKind, "writing")
      try expectEqual(try await store.refusal { _ = try await store.seal(mayBeEmpty: true) }, .otherKind, "sealing")
      try await store.setSchema(1)
      try await store.expectSound(version: 1, records: ["a": (.active, "acme")])
    },
  ]
}
