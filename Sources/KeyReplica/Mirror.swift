// A node's copy of the store, and which parts of it are verified. It doesn't depend on connections, clocks or requests.
//
// It rests on these facts:
// - A bucket is read in one atomic step together with its own summary, so count and digest either fit the records that
//   were read or the store is damaged. A bucket that doesn't fit isn't installed; the old one stays in use and counts
//   as unverified.
// - Equal digests mean equal records, in any history. So after a reconnect, a gap or a failover only the buckets whose
//   digests differ need to be read again.
// - Buckets are read one after another while the store changes, so each has its own version. The mirror equals the
//   store at one version only once the changes have been followed to the latest of these versions (`floor`). At that
//   version the total digest, which is in each change, has to agree as well.

/// The mirrored table, with the state of its verification.
struct Mirror {
  private struct Bucket {
    var verified = false
    /// The store's version of the mirrored bucket; changes up to it are included.
    var version: UInt64 = 0
  }

  /// The result of applying a change.
  enum Application: Equatable {
    case applied
    /// The change isn't the next one: versions are missing before it, or it was already applied.
    case hole(expected: UInt64, came: UInt64)
    /// The change was applied as far as possible, and then mirror and store didn't agree.
    case disagreement(String)
  }

  let table: KeyTable
  private var buckets: [Bucket]
  private(set) var verifiedCount = 0
  /// The epoch of the mirrored history; nil before the first one.
  private(set) var epoch: String?
  /// The version up to which changes have been followed.
  private(set) var applied: UInt64 = 0
  /// The latest version at which any bucket was read.
  private(set) var floor: UInt64 = 0
  /// Whether the buckets' summaries added up to the store's totals at the last comparison.
  private var manifestFits = false
  /// Whether the total digest agreed at or after the floor.
  private var totalAgreed = false
  private(set) var total = Digest.empty
  private(set) var count = 0
  private(set) var sealed = false
  private(set) var activeCount = 0
  /// The previous contents of buckets that were read again. Each has the time until which its keys may be admitted. All
  /// are dropped when the mirror is complete.
  private(set) var former = FormerBuckets()
  /// Removed keys, and keys that returned, since the last call.
  private var removals: [Removal] = []
  private var returns: [KeyPrefix] = []
  /// Keys that were suspended or revoked, and are active in a bucket that was read.
  private var revivals: [KeyPrefix] = []

  init(table: KeyTable) {
    self.table = table
    buckets = Array(repeating: Bucket(), count: table.bucketCount)
    // A table that was restored from an image already has contents, but none is verified.
    for index in 0..<table.bucketCount {
      replaced((0, .empty), by: table.contents(ofBucket: index))
      activeCount += table.bucket(index).activeCount
    }
  }

  /// Whether the mirror is proven to be the whole store at version ``applied``.
  var isComplete: Bool {
    epoch != nil && verifiedCount == buckets.count && applied >= floor && totalAgreed
  }

  /// Why the manifest can't continue the mirrored history; nil if it can, or if there was none. For the log only: the
  /// manifest is used in any case.
  func historyMismatch(of manifest: Manifest) -> String? {
    guard let epoch else { return nil }
    let position = manifest.position
    if position.epoch != epoch { return "the store has another history: epoch \(position.epoch) instead of \(epoch)" }
    if position.version < applied { return "the store went back from version \(applied) to \(position.version)" }
    // A store that went back and used versions again may have passed the mirror's version.
    for (index, summary) in manifest.buckets.enumerated() {
      guard buckets[index].verified, let summary, summary.version <= buckets[index].version else { continue }
      if table.contents(ofBucket: index) != (summary.count, summary.digest) {
        return "the store went back: bucket \(index) is at version \(summary.version), which isn't newer than the "
          + "mirror's, but its content differs"
      }
    }
    return nil
  }

  /// Applies the store's manifest: sets the position, and returns the buckets that differ and must be read.
  /// - Parameter deadline: Keys of a bucket that differs are admitted until this time, even if the store answers again
  ///   later. A bucket that already has a deadline keeps it. Nil if nothing was mirrored yet.
  mutating func compare(with manifest: Manifest, holdingUntil deadline: Instant?) -> [Int] {
    manifestFits = manifest.fitsTogether
    epoch = manifest.position.epoch
    applied = manifest.position.version
    floor = applied
    sealed = manifest.position.sealed
    var differing: [Int] = []
    for (index, summary) in manifest.buckets.enumerated() {
      let ours = table.contents(ofBucket: index)
      // If the length differs from the count, the bucket was edited by hand. It is read, and won't verify.
      let isAsWritten = summary.map { ours == ($0.count, $0.digest) } ?? false
      // The version of a bucket that differs is unknown, so every change will be applied to it.
      buckets[index].version = 0
      if let summary, isAsWritten, summary.version <= manifest.position.version,
        manifest.lengths[index] == summary.count
      {
        buckets[index].version = summary.version
        setVerified(true, bucket: index)
      } else {
        setVerified(false, bucket: index)
        differing.append(index)
      }
      if isAsWritten {
        table.setAdmitDeadline(ofBucket: index, to: nil)
      } else if table.heldUntil(bucket: index) == nil {
        // A bucket that already has a deadline keeps it.
        table.setAdmitDeadline(ofBucket: index, to: deadline)
      }
    }
    checkTotal(manifest.position.digest)
    settleRemovals()
    return differing
  }

  /// Compares for the audit, without changing anything. Returns the buckets that differ although neither side can have
  /// changed. If the store changed a bucket after the mirror's version, the change is in flight. If the mirror has
  /// changes of a bucket after the manifest's version, the bucket has changed since then. The checks of the stream
  /// cover both cases.
  func audit(against manifest: Manifest) -> [Int] {
    manifest.buckets.indices.filter { index in
      guard let summary = manifest.buckets[index] else { return true }
      if summary.version > manifest.position.version { return true }
      if summary.version > applied { return false }
      if buckets[index].version > manifest.position.version { return false }
      let ours = table.contents(ofBucket: index)
      return ours.count != summary.count || ours.digest != summary.digest || manifest.lengths[index] != summary.count
    }
  }

  mutating func distrust(buckets indices: [Int]) {
    for index in indices { setVerified(false, bucket: index) }
  }

  /// Removed keys, and keys that returned, since the last call. Revivals are the returns of keys that were suspended or
  /// revoked, in buckets that were read.
  mutating func takeMovements() -> (removals: [Removal], returns: [KeyPrefix], revivals: [KeyPrefix]) {
    guard !removals.isEmpty || !returns.isEmpty else { return ([], [], []) }
    defer {
      removals = []
      returns = []
      revivals = []
    }
    return (removals, returns, revivals)
  }

  /// Why a bucket fails verification, as text.
  struct Unsound: Error, Equatable {
    let why: String
    init(_ why: String) { self.why = why }
  }

  /// Decodes a bucket that was read, and checks it against its own summary.
  private func decoded(_ raw: RawBucket, bucket index: Int) throws(Unsound) -> (table: BucketTable, BucketSummary) {
    // A new store has a summary in every bucket. If it is missing, the bucket was deleted and its records are lost.
    guard let text = raw.summary else {
      throw Unsound("bucket \(index) has \(raw.count) records and no summary: it was deleted or edited")
    }
    guard let summary = BucketSummary(decoding: text) else {
      throw Unsound("bucket \(index) has \(raw.count) records and no readable summary")
    }
    let fresh = try table(of: raw, bucket: index)
    guard fresh.count == summary.count, fresh.digest == summary.digest else {
      throw Unsound(
        "bucket \(index): its summary says \(summary.count) records with digest \(summary.digest), "
          + "got \(fresh.count) with \(fresh.digest)")
    }
    return (fresh, summary)
  }

  private func table(of raw: RawBucket, bucket index: Int) throws(Unsound) -> BucketTable {
    try raw.withFields { (fields) throws(Unsound) in
      var records: [(id: KeyID, state: KeyState, expiry: KeyExpiry, digest: Digest)] = []
      var accounts: [UnsafeRawBufferPointer] = []
      records.reserveCapacity(raw.count)
      accounts.reserveCapacity(raw.count)
      for field in fields {
        guard field.nameLength == KeyID.byteCount, case let id = KeyID(raw: field.name),
          id.bucket(of: buckets.count) == index
        else { throw Unsound("bucket \(index) has a field that isn't a key ID of this bucket") }
        do throws(UndecodableRecord) {
          let record = try KeyRecord.Parts(of: field.value)
          records.append((id, record.state, KeyExpiry(record.expiresAt), Digest(ofIDAndRecord: field.both)))
          accounts.append(record.account)
        } catch {
          throw Unsound("bucket \(index), key \(id): \(error)")
        }
      }
      var fresh = BucketTable(capacity: raw.count)
      for (record, account) in zip(records, table.accountNumbers(of: accounts)) {
        fresh.put(
          record.id, state: record.state, account: account, expiry: record.expiry, digest: record.digest)
      }
      return fresh
    }
  }

  /// The result of reading a bucket again as a check.
  enum Reread: Equatable {
    /// It matches its summary. The value says whether it also equals the mirrored bucket.
    case sound(asMirrored: Bool)
    /// It doesn't match its summary: it was edited by hand.
    case unsound(String)
    /// It matches its summary and has the mirrored version, but differs from the mirror.
    case differs
  }

  func reread(_ raw: RawBucket, bucket index: Int) -> Reread {
    let fresh: BucketTable
    let summary: BucketSummary
    do throws(Unsound) { (fresh, summary) = try decoded(raw, bucket: index) } catch { return .unsound(error.why) }
    let ours = table.contents(ofBucket: index)
    let same = ours == (fresh.count, fresh.digest)
    guard summary.version == buckets[index].version else { return .sound(asMirrored: false) }
    return same ? .sound(asMirrored: true) : .differs
  }

  /// Installs a bucket that was read, if it matches its own summary.
  /// - Parameters:
  ///   - manifest: The manifest that showed the difference.
  ///   - deadline: If the bucket has no deadline of its own, its former keys are admitted until then.
  /// - Returns: nil, or why it wasn't installed.
  mutating func install(
    _ raw: RawBucket, asBucket index: Int, listedIn manifest: Manifest, admittedUntil deadline: Instant?
  ) -> String? {
    let fresh: BucketTable
    let summary: BucketSummary
    do throws(Unsound) { (fresh, summary) = try decoded(raw, bucket: index) } catch { return error.why }
    if let listed = manifest.buckets[index], summary.version < listed.version {
      return "bucket \(index) went back from version \(listed.version) to \(summary.version) while it was read"
    }
    let old = table.contents(ofBucket: index)
    // Records disappear from a store only by a purge, or with its history. If the store's totals still count them, the
    // bucket was lost.
    if fresh.count < old.count, !manifestFits {
      return "bucket \(index) lost \(old.count - fresh.count) records, but the store's totals still count them: "
        + "run key-publisher verify"
    }
    let until = table.heldUntil(bucket: index) ?? deadline
    let replacedTable = table.install(fresh, asBucket: index)
    table.setAdmitDeadline(ofBucket: index, to: nil)
    replaced(old, by: (fresh.count, fresh.digest))
    activeCount += fresh.activeCount - replacedTable.activeCount
    noteReturns(from: replacedTable, to: fresh)
    former.keep(replacedTable, of: index, replacedBy: fresh, until: until)
    buckets[index].version = summary.version
    floor = max(floor, summary.version)
    setVerified(true, bucket: index)
    return nil
  }

  /// Call it when all buckets that differed have been read and verified, to compare the total. If one of them was read
  /// at a later version than the manifest, the total is compared at the change with that version.
  mutating func finishedReading(of manifest: Manifest) -> String? {
    guard floor == manifest.position.version else { return nil }
    checkTotal(manifest.position.digest)
    settleRemovals()
    return totalAgreed
      ? nil
      : "the buckets together have the digest \(total), but the store says \(manifest.position.digest)"
  }

  /// Applies the next change of the stream.
  mutating func apply(_ change: Change) -> Application {
    guard change.epoch == epoch else {
      return .disagreement("change \(change.version) is of another history: epoch \(change.epoch)")
    }
    guard change.version == applied + 1 else { return .hole(expected: applied + 1, came: change.version) }
    applied = change.version
    switch change.effect {
    case .seal:
      sealed = true
    // The removal guard processes it; the mirror only counts the version.
    case .confirm: break
    case .undecodable(let why):
      totalAgreed = false
      return .disagreement("change \(change.version): \(why)")
    case .purge(let id, let bucket, let after):
      guard bucket == id.bucket(of: buckets.count) else {
        totalAgreed = false
        return .disagreement("change \(change.version) names bucket \(bucket), but its key belongs to another bucket")
      }
      if change.version <= buckets[bucket].version { break }
      let (was, now, former) = table.remove(id)
      // Only revoked keys are purged. If the key is active in the mirror, its record has vanished.
      noteMovement(of: id, from: former, to: nil, bucket: bucket, version: change.version)
      replaced(was, by: now)
      buckets[bucket].version = change.version
      if buckets[bucket].verified, now != (after.count, after.digest) {
        setVerified(false, bucket: bucket)
        return .disagreement(
          "after change \(change.version) the count or digest of bucket \(bucket) differs from the store's")
      }
    case .put(let id, let bytes, let bucket, let after):
      guard bucket == id.bucket(of: buckets.count) else {
        totalAgreed = false
        return .disagreement("change \(change.version) names bucket \(bucket), but its key belongs to another bucket")
      }
      // The change is already included in the bucket that was read.
      if change.version <= buckets[bucket].version { break }
      let record: KeyRecord
      do throws(UndecodableRecord) { record = try KeyRecord(decoding: bytes) } catch {
        setVerified(false, bucket: bucket)
        return .disagreement("change \(change.version), key \(id): \(error)")
      }
      let (was, now, former) = table.put(id, record, digest: Digest(of: id, record: bytes))
      noteMovement(of: id, from: former, to: record.state, bucket: bucket, version: change.version)
      replaced(was, by: now)
      buckets[bucket].version = change.version
      // Changes are applied to an unverified bucket too, because each contains the whole record of its key. But they
      // don't verify the bucket.
      if buckets[bucket].verified, now != (after.count, after.digest) {
        setVerified(false, bucket: bucket)
        return .disagreement(
          "after change \(change.version) the count or digest of bucket \(bucket) differs from the store's")
      }
    }
    if verifiedCount == buckets.count, applied >= floor { checkTotal(change.total) }
    if verifiedCount == buckets.count, applied >= floor, !totalAgreed {
      return .disagreement(
        "at version \(applied) the mirror's total digest is \(total), the store's is \(change.total)")
    }
    settleRemovals()
    return .applied
  }

  private mutating func noteMovement(
    of id: KeyID, from former: BucketTable.Entry?, to state: KeyState?, bucket: Int, version: UInt64
  ) {
    let wasActive = former?.state == .active
    if state == .active {
      if !wasActive { activeCount += 1 }
      returns.append(KeyPrefix(id))
      return
    }
    if wasActive { activeCount -= 1 }
    // A record that revokes or suspends a key also removes it from the bucket's former content. A purge doesn't.
    let ended = state == nil ? nil : self.former.ended(KeyPrefix(id), of: bucket)
    if let entry = wasActive ? former : ended {
      removals.append(
        Removal(
          key: KeyPrefix(id), held: heldBack(entry), bucket: bucket, version: version, vanished: state == nil))
    }
  }

  private mutating func noteReturns(from old: BucketTable, to fresh: BucketTable) {
    // A key has returned only if it wasn't active before. Usually the bucket was empty before, and no key has returned.
    guard old.count > 0 else { return }
    for entry in fresh.entries where entry.state == .active {
      let before = old.find(entry.id0, entry.id1)?.state
      guard before != .active else { continue }
      returns.append(KeyPrefix(entry.id0, entry.id1))
      if before != nil { revivals.append(KeyPrefix(entry.id0, entry.id1)) }
    }
  }

  /// Whether no removal is undecided: the mirror is complete, the store is sealed, and no former bucket content is
  /// kept.
  var isSettled: Bool { former.isEmpty && isComplete && sealed }

  /// When the mirror is complete, keys that are missing in their buckets are gone from the whole store. If the store
  /// isn't sealed, they may still be added, so nothing is decided.
  private mutating func settleRemovals() {
    guard !former.isEmpty, isComplete, sealed else { return }
    for (index, old) in former.takeAll() {
      let now = table.bucket(index)
      for entry in old.entries where entry.state == .active {
        let current = now.find(entry.id0, entry.id1)
        guard current?.state != .active else { continue }
        removals.append(
          Removal(
            key: KeyPrefix(entry.id0, entry.id1), held: heldBack(entry), bucket: index,
            version: buckets[index].version, vanished: current == nil))
      }
    }
  }

  private func heldBack(_ entry: BucketTable.Entry) -> HeldBackKey {
    HeldBackKey(account: table.accountName(of: entry.account), expiry: entry.expiry)
  }

  /// Compares the total with the store's at the mirror's version.
  private mutating func checkTotal(_ stores: Digest) {
    totalAgreed = total == stores
  }

  private mutating func replaced(_ old: (count: Int, digest: Digest), by new: (count: Int, digest: Digest)) {
    total ^= old.digest
    total ^= new.digest
    count += new.count - old.count
  }

  private mutating func setVerified(_ verified: Bool, bucket: Int) {
    guard buckets[bucket].verified != verified else { return }
    buckets[bucket].verified = verified
    verifiedCount += verified ? 1 : -1
  }
}
