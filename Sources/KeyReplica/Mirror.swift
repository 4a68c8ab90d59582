// What a node holds of the store, and how much of it is proven. It knows nothing of connections, time or requests.
//
// The facts it rests on:
// - A bucket is read in one atomic step together with its own summary, so count and digest either fit what was read or
//   the store is damaged. A bucket that doesn't fit isn't taken over; the old one goes on serving and counts as unverified.
// - Equal digests mean equal records, in whatever history. So after a reconnect, a gap or a failover only the
//   buckets whose digests differ need to be read again.
// - Buckets are read one after another while the store goes on changing: each is as of its own version. The mirror is
//   the store at one version only once the changes have been followed to the latest of them (`floor`), and there
//   the total digest, carried by each change, has to agree as well.

/// The mirrored table with what is proven about it.
struct Mirror {
  private struct Bucket {
    var verified = false
    /// The store's version as of which this bucket is known; changes up to it are in it already.
    var version: UInt64 = 0
  }

  /// What became of a change.
  enum Application: Equatable {
    case applied
    /// It isn't the one that follows: versions are missing between, or came twice.
    case hole(expected: UInt64, came: UInt64)
    /// It was applied as far as it could be, and then mirror and store don't agree.
    case disagreement(String)
  }

  let table: KeyTable
  private var buckets: [Bucket]
  private(set) var verifiedCount = 0
  /// The history that is mirrored; nil before there was any.
  private(set) var epoch: String?
  /// The version up to which changes have been followed.
  private(set) var applied: UInt64 = 0
  /// The latest version that any bucket was read at.
  private(set) var floor: UInt64 = 0
  /// Whether the buckets' summaries add up to what the store said of the whole when they were compared last.
  private var manifestFits = false
  /// Whether the total was seen to agree at or after the floor.
  private var totalAgreed = false
  private(set) var total = Digest.empty
  private(set) var count = 0
  private(set) var sealed = false
  private(set) var activeCount = 0
  /// What buckets held before they were read, as long as the mirror isn't complete, and until when it may be admitted.
  private(set) var former = FormerBuckets()
  /// What was taken away, and what came back, since somebody asked last.
  private var removals: [Removal] = []
  private var returns: [KeyPrefix] = []

  init(table: KeyTable) {
    self.table = table
    buckets = Array(repeating: Bucket(), count: table.bucketCount)
    // A table that was restored from an image has contents already, none of them verified.
    for index in 0..<table.bucketCount {
      replaced((0, .empty), by: table.contents(ofBucket: index))
      activeCount += table.bucket(index).activeCount
    }
  }

  /// Whether this is the whole store at version ``applied``, proven.
  var isComplete: Bool {
    epoch != nil && verifiedCount == buckets.count && applied >= floor && totalAgreed
  }

  /// Why this can't be what became of the mirrored history; nil if it can, or if there was none. For the log: it is taken over all the same.
  func historyMismatch(of manifest: Manifest) -> String? {
    guard let epoch else { return nil }
    let position = manifest.position
    if position.epoch != epoch { return "the store has another history: epoch \(position.epoch) instead of \(epoch)" }
    if position.version < applied { return "the store went back from version \(applied) to \(position.version)" }
    // A store that went back and used versions again may be past ours.
    for (index, summary) in manifest.buckets.enumerated() {
      guard buckets[index].verified, let summary, summary.version <= buckets[index].version else { continue }
      if table.contents(ofBucket: index) != (summary.count, summary.digest) {
        return "the store went back: bucket \(index) wasn't changed after version \(summary.version), "
          + "and isn't what it was then"
      }
    }
    return nil
  }

  /// Follows the store's description: takes over its position, and returns the buckets that differ and must be read.
  /// - Parameter deadline: Until when a bucket that differs may go on admitting, which is as old as the mirror was until now however
  ///   often the store answers from here on; nil if nothing was mirrored yet.
  mutating func compare(with manifest: Manifest, holdingUntil deadline: Instant?) -> [Int] {
    manifestFits = manifest.fitsTogether
    epoch = manifest.position.epoch
    applied = manifest.position.version
    floor = applied
    sealed = manifest.position.sealed
    var differing: [Int] = []
    for (index, summary) in manifest.buckets.enumerated() {
      let ours = table.contents(ofBucket: index)
      // A length that isn't the count: somebody edited the bucket by hand. It is read, and won't verify.
      let isAsWritten = summary.map { ours == ($0.count, $0.digest) } ?? false
      // Of one that differs nothing is known to be in it already: every change that comes is applied to it.
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
        // One that was held already hasn't become any younger.
        table.setAdmitDeadline(ofBucket: index, to: deadline)
      }
    }
    checkTotal(manifest.position.digest)
    settleRemovals()
    return differing
  }

  /// Compares without taking anything over, for the audit: the buckets that differ although neither side can have
  /// moved on. One that was changed after our version is on its way, and one that we have changes of after the
  /// manifest's has moved on; the stream's own checks cover both.
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

  /// What was taken away, and what came back, since this was asked last.
  mutating func takeMovements() -> (removals: [Removal], returns: [KeyPrefix]) {
    guard !removals.isEmpty || !returns.isEmpty else { return ([], []) }
    defer {
      removals = []
      returns = []
    }
    return (removals, returns)
  }

  /// A bucket that isn't what it should be; why, in words.
  struct Unsound: Error, Equatable {
    let why: String
    init(_ why: String) { self.why = why }
  }

  /// A bucket that was read, if it is what its own summary says.
  private func decoded(_ raw: RawBucket, bucket index: Int) throws(Unsound) -> (table: BucketTable, BucketSummary) {
    // A store begins with a summary in every bucket: one without was deleted, and has lost what was in it.
    guard let text = raw.summary else {
      throw Unsound("bucket \(index) has \(raw.count) records and no summary: it was deleted or edited")
    }
    guard let summary = BucketSummary(decoding: text) else {
      throw Unsound("bucket \(index) has \(raw.count) records and no readable summary")
    }
    let fresh = try table(of: raw, bucket: index)
    guard fresh.count == summary.count, fresh.digest == summary.digest else {
      throw Unsound(
        "bucket \(index) says it has \(summary.count) records with digest \(summary.digest), "
          + "but it has \(fresh.count) with \(fresh.digest)")
    }
    return (fresh, summary)
  }

  private func table(of raw: RawBucket, bucket index: Int) throws(Unsound) -> BucketTable {
    try raw.withFields { (fields) throws(Unsound) in
      var records: [(id: KeyID, state: KeyState, digest: Digest)] = []
      var accounts: [UnsafeRawBufferPointer] = []
      records.reserveCapacity(raw.count)
      accounts.reserveCapacity(raw.count)
      for field in fields {
        guard field.nameLength == KeyID.byteCount, case let id = KeyID(raw: field.name),
          id.bucket(of: buckets.count) == index
        else { throw Unsound("bucket \(index) has a field that isn't a key id of this bucket") }
        do throws(UndecodableRecord) {
          let record = try KeyRecord.Parts(of: field.value)
          records.append((id, record.state, Digest(ofIDAndRecord: field.both)))
          accounts.append(record.account)
        } catch {
          throw Unsound("bucket \(index), key \(id): \(error)")
        }
      }
      var fresh = BucketTable(capacity: raw.count)
      for (record, account) in zip(records, table.accountNumbers(of: accounts)) {
        fresh.put(record.id, state: record.state, account: account, digest: record.digest)
      }
      return fresh
    }
  }

  /// What a bucket that was read again, for no other reason than to look, says of the store.
  enum Reread: Equatable {
    /// It is what its summary says; whether that is also just what is mirrored.
    case sound(asMirrored: Bool)
    /// It isn't what its summary says: somebody edited it.
    case unsound(String)
    /// It is sound, of the version that is mirrored, and not what is mirrored.
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

  /// Takes over a bucket that was read, if it is what its own summary says.
  /// - Parameters:
  ///   - manifest: The one that it was found to differ from, read before it.
  ///   - deadline: Until when what is mirrored without being known to differ may be admitted.
  /// - Returns: nil, or why it wasn't taken over.
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
    // Records vanish from a store only when they are purged, or with its history. Where the totals still count them, the bucket was lost.
    if fresh.count < old.count, !manifestFits {
      return "bucket \(index) lost \(old.count - fresh.count) records that the store's totals still count"
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

  /// Says that all buckets that differed have been read and verified, so that the total can be judged. If one of them was read at a later
  /// version than the manifest, the change that leads there will bring the total to compare with.
  /// - Returns: nil, or what doesn't fit together.
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
    // It is the guard's business; here it only counts as a version.
    case .confirm: break
    case .undecodable(let why):
      totalAgreed = false
      return .disagreement("change \(change.version): \(why)")
    case .purge(let id, let bucket, let after):
      guard bucket == id.bucket(of: buckets.count) else {
        totalAgreed = false
        return .disagreement("change \(change.version) names bucket \(bucket) for a key of another")
      }
      if change.version <= buckets[bucket].version { break }
      let (was, now, former) = table.remove(id)
      // Only what was revoked is purged. If it is active here, then it vanished.
      noteMovement(of: id, from: former, to: nil, bucket: bucket, version: change.version)
      replaced(was, by: now)
      buckets[bucket].version = change.version
      if buckets[bucket].verified, now != (after.count, after.digest) {
        setVerified(false, bucket: bucket)
        return .disagreement("after change \(change.version) bucket \(bucket) isn't what the store says it is")
      }
    case .put(let id, let bytes, let bucket, let after):
      guard bucket == id.bucket(of: buckets.count) else {
        totalAgreed = false
        return .disagreement("change \(change.version) names bucket \(bucket) for a key of another")
      }
      // Already in the bucket as it was read.
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
      // An unverified bucket takes changes too, since each says all about its key; but they don't make it verified.
      if buckets[bucket].verified, now != (after.count, after.digest) {
        setVerified(false, bucket: bucket)
        return .disagreement("after change \(change.version) bucket \(bucket) isn't what the store says it is")
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
    // A record that says that the key has ended says so of what a bucket held before it was read, too. What was purged says nothing of it.
    let ended = state == nil ? nil : self.former.ended(KeyPrefix(id), of: bucket)
    if let entry = wasActive ? former : ended {
      removals.append(
        Removal(
          key: KeyPrefix(id), account: table.accountName(of: entry.account), bucket: bucket, version: version,
          vanished: state == nil))
    }
  }

  private mutating func noteReturns(from old: BucketTable, to fresh: BucketTable) {
    // Of the ones that weren't active before; most often there was nothing before, and nobody to bring back.
    guard old.count > 0 else { return }
    for entry in fresh.entries where entry.state == .active && old.find(entry.id0, entry.id1)?.state != .active {
      returns.append(KeyPrefix(entry.id0, entry.id1))
    }
  }

  /// Whether all that was taken away up to this version has been told.
  var isSettled: Bool { former.isEmpty && isComplete && sealed }

  /// Once the mirror is complete, what reading buckets has taken away is gone from the store as a whole; unless that isn't sealed, for
  /// then it is still to come.
  private mutating func settleRemovals() {
    guard !former.isEmpty, isComplete, sealed else { return }
    for (index, old) in former.takeAll() {
      let now = table.bucket(index)
      for entry in old.entries where entry.state == .active {
        let current = now.find(entry.id0, entry.id1)
        guard current?.state != .active else { continue }
        removals.append(
          Removal(
            key: KeyPrefix(entry.id0, entry.id1), account: table.accountName(of: entry.account), bucket: index,
            version: buckets[index].version, vanished: current == nil))
      }
    }
  }

  /// Compares the total with what the store says it is at the version that the mirror is at.
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
