// A key store in memory that does what the scripts do in Redis: the same records, summaries, totals, versions and stream
// entries, and the same refusals. It is held to that by StoreConformance, which the real store passes too; a simulation on
// a store that behaves otherwise would prove nothing about the nodes.
//
// It keeps what Redis keeps (fields and values, not what they ought to mean), because only then does a hand at redis-cli
// have the effect on it that it has on Redis. It is a value, so a copy is a snapshot or a server's lagging replica.

public import KeyReplica

/// The key store of one Redis.
public struct SimulatedStore: Sendable {
  /// What stands in `meta`.
  public struct Meta: Sendable {
    public var schema = KeyRecord.schema
    public var epoch: String
    public var version: UInt64 = 0
    public var count = 0
    public var digest = Digest.empty
    public var sealed = false
    public var announced: UInt64 = 0
    public var confirmed: UInt64 = 0
    public var replicas: Int?
    public var confirmedUnknown = 0
    /// The source mark, in microseconds of Redis's clock, the version that it is of, and its maximum age.
    public var sourceMark: UInt64?
    public var sourceVersion: UInt64?
    public var sourceMaxAge: Duration?
    /// Whether somebody said that the mark has no maximum age.
    public var hasNoSourceLimit = false
    /// The store's ID: its first epoch.
    public var store: String
    public var name: String?
    /// The IDs and names of stores that this one replaces, the latest first.
    public var adopted: [String] = []
    /// The version that it is going to have, while it is being rebuilt.
    public var rebuildingTo: UInt64?

    init(epoch: String) {
      self.epoch = epoch
      store = epoch
    }
  }

  /// A field of a bucket's hash. What can be known of it without its bucket is worked out when it is written, once.
  struct Field: Sendable {
    let name: [UInt8]
    let key: KeyID?
    let record: [UInt8]
    let digest: Digest
    /// What stands in it, where it looks enough like a record for the script; the nodes are stricter.
    let parts: Parts?

    struct Parts: Sendable {
      var state: KeyState
      var since: Int64
      var version: UInt64?
      var revision: UInt64?
      var expiresAt: Int64?
      var account: String
    }

    init(name: [UInt8], key: KeyID?, record: [UInt8]) {
      self.name = name
      self.key = key
      self.record = record
      digest = key.map { Digest(of: $0, record: record) } ?? .empty
      parts = Self.parts(of: record)
    }

    /// As the script's `^1 ([asr]) (%d+)/?(%d*)/?(%d*) (.+)$` would have it, or with an end its
    /// `^2 ([asr]) (%d+)/?(%d*)/?(%d*) (%d+) (.+)$`.
    private static func parts(of record: [UInt8]) -> Parts? {
      func text(_ word: ArraySlice<UInt8>) -> String { String(decoding: word, as: UTF8.self) }
      let hasExpiry = record.starts(with: "\(KeyRecord.schemaWithExpiry) ".utf8)
      let count = hasExpiry ? 5 : 4
      var words = record.split(separator: UInt8(ascii: " "), maxSplits: count - 1, omittingEmptySubsequences: false)
      guard words.count == count,
        text(words[0]) == "\(hasExpiry ? KeyRecord.schemaWithExpiry : KeyRecord.schema)",
        let state = KeyState(letter: text(words[1])), !words[count - 1].isEmpty
      else { return nil }
      var expiresAt: Int64?
      if hasExpiry {
        let digits = words.remove(at: 3)
        guard !digits.isEmpty, digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
        expiresAt = Int64(text(digits)) ?? .max
      }
      let numbers = words[2].split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(text)
      guard (1...3).contains(numbers.count), !numbers[0].isEmpty,
        numbers.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } })
      else { return nil }
      return Parts(
        state: state, since: Int64(numbers[0]) ?? .max, version: numbers.count > 1 ? UInt64(numbers[1]) : nil,
        revision: numbers.count > 2 ? UInt64(numbers[2]) : nil, expiresAt: expiresAt, account: text(words[3]))
    }
  }

  /// What stands under `summary` in a bucket.
  enum Summary: Sendable {
    case absent
    case written(BucketSummary, text: [UInt8])
    case unreadable(text: [UInt8])

    init(_ summary: BucketSummary) {
      self = .written(summary, text: Array("\(summary.count) \(summary.digest.hex) \(summary.version)".utf8))
    }
  }

  struct Bucket: Sendable {
    var summary = Summary.absent
    var fields: [Field] = []

    func position(of key: KeyID) -> Int? { fields.firstIndex { $0.key == key } }
  }

  public let bucketCount: Int
  public internal(set) var meta: Meta?
  var buckets: [Bucket]
  public internal(set) var stream: [Change] = []
  /// The last id that the stream ever had: no later entry may have one that isn't greater, even when it is gone.
  var streamLastID: UInt64 = 0
  let changesKept: Int
  /// While it is being rebuilt: what the buckets' summaries are going to be.
  var rebuilt: [Int: BucketSummary] = [:]

  /// - Parameter changesKept: How long the stream may get; older entries are dropped.
  public init(bucketCount: Int, changesKept: Int = 1000) {
    self.bucketCount = bucketCount
    self.changesKept = changesKept
    buckets = Array(repeating: Bucket(), count: bucketCount)
  }

  // MARK: The scripts

  /// Begins a store, with a summary in every bucket, where there is none.
  /// - Returns: Whether there wasn't.
  @discardableResult
  public mutating func create(epoch: String) throws(StoreRefusal) -> Bool {
    if meta != nil { return false }
    try refuseLeftovers()
    meta = Meta(epoch: epoch)
    for index in buckets.indices { buckets[index].summary = Summary(.empty) }
    return true
  }

  private func refuseLeftovers() throws(StoreRefusal) {
    if streamLastID > 0 { throw StoreRefusal(.broken, "meta is missing, the change stream exists") }
    let isLeft = buckets.contains { bucket in
      switch bucket.summary {
      case .absent: !bucket.fields.isEmpty
      case .written(let summary, _): !bucket.fields.isEmpty || summary.count > 0 || summary.digest != .empty
      case .unreadable: true
      }
    }
    if isLeft { throw StoreRefusal(.broken, "meta is missing, buckets exist") }
  }

  /// Carries out edits in one atomic step, each as far as it may be made, or none of them.
  /// - Parameters:
  ///   - now: The publisher's clock, in seconds since 1970.
  ///   - basis: The version that they rest on.
  public mutating func apply(
    _ edits: [StoreEdit], basedOn basis: UInt64? = nil, now: Int64
  ) throws(StoreRefusal) -> StoreOutcome {
    var meta = try readMeta()
    var summaries: [Int: (summary: BucketSummary, touched: Bool)] = [:]
    var changedAt: [Int: UInt64] = [:]
    for edit in edits {
      let index = edit.key.bucket(of: bucketCount)
      if summaries[index] == nil { summaries[index] = (try describe(index, in: meta), false) }
      changedAt[index] = changedAt[index] ?? summaries[index]!.summary.version
    }
    var outcome = StoreOutcome(epoch: meta.epoch, version: meta.version)
    for edit in edits {
      let index = edit.key.bucket(of: bucketCount)
      let position = buckets[index].position(of: edit.key)
      let old = position.flatMap { buckets[index].fields[$0].parts }
      if position != nil, old == nil {
        // Nobody knows what it would undo.
        outcome.results.append("d-")
        continue
      }
      let (decision, wanted) = decide(edit, old, basis, bucketChangedAt: changedAt[index]!)
      guard decision == "c", let wanted else {
        outcome.results.append("\(decision)\(old.map { String($0.state.letter) } ?? "-")")
        continue
      }
      let sameHolder = old?.state == wanted.state && old?.account == wanted.account
      let record = KeyRecord(
        state: wanted.state, since: sameHolder ? old!.since : now, version: meta.version + 1,
        revision: [edit.revision, old?.revision].compactMap { $0 }.max(), expiresAt: wanted.expiresAt,
        account: wanted.account
      ).encoded
      if wanted.expiresAt != nil { meta.schema = KeyRecord.schemaWithExpiry }
      let isAgreed = old?.state == .active && wanted.state != .active && edit.allowing.contains(.end)
      write(record, of: edit.key, over: position, isAgreed: isAgreed, &meta, &summaries[index]!.summary)
      summaries[index]!.touched = true
      if isAgreed { meta.announced += 1 }
      outcome.results.append("c\(wanted.state.letter)")
    }
    for (index, entry) in summaries where entry.touched { buckets[index].summary = Summary(entry.summary) }
    self.meta = meta
    outcome.version = meta.version
    stream.removeFirst(max(0, stream.count - changesKept))
    return outcome
  }

  /// Whether an edit may be made, as a letter, and what the record is to say then.
  private func decide(
    _ edit: StoreEdit, _ old: Field.Parts?, _ basis: UInt64?, bucketChangedAt: UInt64
  ) -> (Character, (state: KeyState, account: String, expiresAt: Int64?)?) {
    let wanted: (state: KeyState, account: String, expiresAt: Int64?)
    var isPut = true
    let expiresAt: Int64? =
      switch edit.expiry {
      case .keep: old?.expiresAt
      case .remove: nil
      case .set(let seconds): seconds
      }
    switch edit.kind {
    case .put(let account, let state): wanted = (state ?? old?.state ?? .active, account, expiresAt)
    case .setState(let state):
      guard let old else { return ("m", nil) }
      isPut = false
      wanted = (state, old.account, old.expiresAt)
    }
    guard let old else { return ("c", wanted) }
    let same =
      old.state == wanted.state && old.account == wanted.account && old.expiresAt == wanted.expiresAt
    let isNewer = edit.revision.map { revision in old.revision.map { revision > $0 } ?? true } ?? false
    if same, !isNewer { return ("u", nil) }
    if let revision = edit.revision, let known = old.revision, revision < known { return ("o", nil) }
    if let basis, old.version ?? bucketChangedAt > basis { return ("v", nil) }
    if old.state == .revoked, !same, !edit.allowing.contains(.reactivate) { return ("r", nil) }
    if old.account != wanted.account, !edit.allowing.contains(.move) { return ("a", nil) }
    if isPut, old.state == .active, wanted.state != .active, !edit.allowing.contains(.end) { return ("e", nil) }
    return ("c", wanted)
  }

  /// Removes the records of keys that have been revoked since before a moment, in one atomic step.
  public mutating func purge(_ keys: [KeyID], revokedBefore moment: Int64) throws(StoreRefusal) -> StoreOutcome {
    var meta = try readMeta()
    var summaries: [Int: BucketSummary] = [:]
    for key in keys {
      let index = key.bucket(of: bucketCount)
      if summaries[index] == nil { summaries[index] = try describe(index, in: meta) }
    }
    var outcome = StoreOutcome(epoch: meta.epoch, version: meta.version)
    for key in keys {
      let index = key.bucket(of: bucketCount)
      guard let position = buckets[index].position(of: key) else {
        outcome.results.append("m-")
        continue
      }
      let old = buckets[index].fields[position]
      guard let parts = old.parts else {
        outcome.results.append("d-")
        continue
      }
      guard parts.state == .revoked, parts.since < moment else {
        outcome.results.append("u\(parts.state.letter)")
        continue
      }
      buckets[index].fields.remove(at: position)
      meta.version += 1
      meta.count -= 1
      meta.digest ^= old.digest
      summaries[index]!.count -= 1
      summaries[index]!.digest ^= old.digest
      summaries[index]!.version = meta.version
      buckets[index].summary = Summary(summaries[index]!)
      append(
        Change(
          epoch: meta.epoch, version: meta.version, total: meta.digest,
          effect: .purge(key, bucket: index, after: summaries[index]!)))
      outcome.results.append("c-")
    }
    self.meta = meta
    outcome.version = meta.version
    stream.removeFirst(max(0, stream.count - changesKept))
    return outcome
  }

  /// What a publisher does: carries out edits, and begins the store first where there is none and something is put.
  public mutating func publish(
    _ edits: [StoreEdit], basedOn basis: UInt64? = nil, now: Int64, newEpoch: String
  ) throws(StoreRefusal) -> StoreOutcome {
    do throws(StoreRefusal) {
      return try apply(edits, basedOn: basis, now: now)
    } catch {
      guard error.code == .absent else { throw error }
      let adds = edits.contains { if case .put = $0.kind { true } else { false } }
      guard adds else { return StoreOutcome(epoch: "", version: 0, results: edits.map { _ in "m-" }) }
      try create(epoch: newEpoch)
      return try apply(edits, basedOn: basis, now: now)
    }
  }

  /// Writes a record that is no record, with everything else in order: what a publisher of another build might do.
  public mutating func applyForeignRecord(_ record: [UInt8], of key: KeyID) throws(StoreRefusal) {
    guard meta != nil else { return }
    var meta = try readMeta()
    let index = key.bucket(of: bucketCount)
    var summary = try describe(index, in: meta)
    write(record, of: key, over: buckets[index].position(of: key), isAgreed: false, &meta, &summary)
    buckets[index].summary = Summary(summary)
    self.meta = meta
  }

  private mutating func write(
    _ record: [UInt8], of key: KeyID, over position: Int?, isAgreed: Bool, _ meta: inout Meta,
    _ summary: inout BucketSummary
  ) {
    let index = key.bucket(of: bucketCount)
    let field = Field(name: position.map { buckets[index].fields[$0].name } ?? key.bytes, key: key, record: record)
    if let position {
      let old = buckets[index].fields[position].digest
      summary.digest ^= old
      meta.digest ^= old
      buckets[index].fields[position] = field
    } else {
      summary.count += 1
      meta.count += 1
      buckets[index].fields.append(field)
    }
    summary.digest ^= field.digest
    meta.digest ^= field.digest
    meta.version += 1
    summary.version = meta.version
    append(
      Change(
        epoch: meta.epoch, version: meta.version, total: meta.digest,
        effect: .put(key, record: record, bucket: index, after: summary), isAgreed: isAgreed))
  }

  /// Marks the store as populated, if all that it says of itself fits together.
  public mutating func seal(mayBeEmpty: Bool = false) throws(StoreRefusal) -> SealOutcome {
    var meta = try readMeta()
    var (count, digest) = (0, Digest.empty)
    for index in buckets.indices {
      let summary = try describe(index, in: meta)
      guard buckets[index].fields.count == summary.count else {
        throw StoreRefusal(
          .broken, "bucket \(index) has \(buckets[index].fields.count) records, its summary says \(summary.count)")
      }
      count += summary.count
      digest ^= summary.digest
    }
    guard count == meta.count, digest == meta.digest else {
      throw StoreRefusal(.broken, "the buckets have \(count) records with \(digest), meta says \(meta.count)")
    }
    if count == 0, !mayBeEmpty { throw StoreRefusal(.empty, "there are no keys in the store") }
    if meta.sealed { return SealOutcome(version: meta.version, keys: count, already: true) }
    meta.version += 1
    meta.sealed = true
    append(Change(epoch: meta.epoch, version: meta.version, total: meta.digest, effect: .seal))
    self.meta = meta
    return SealOutcome(version: meta.version, keys: count, already: false)
  }

  /// Names the store, unless it has a name.
  /// - Returns: Its name, and whether that is new.
  public mutating func name(_ name: String) throws(StoreRefusal) -> (name: String, isNew: Bool) {
    let meta = try readMeta()
    if let known = meta.name { return (known, false) }
    self.meta?.name = name
    return (name, true)
  }

  /// Says that this store replaces another one.
  public mutating func adopt(_ other: String) throws(StoreRefusal) {
    let meta = try readMeta()
    self.meta?.adopted = [other] + meta.adopted.filter { $0 != other }.prefix(7)
  }

  /// Says that all removals up to here are meant.
  public mutating func confirmRemovals() throws(StoreRefusal) {
    var meta = try readMeta()
    meta.version += 1
    meta.confirmed = meta.version
    append(Change(epoch: meta.epoch, version: meta.version, total: meta.digest, effect: .confirm))
    self.meta = meta
  }

  /// Confirms a number of distinct unknown keys.
  public mutating func confirm(unknownKeys number: Int) throws(StoreRefusal) {
    var meta = try readMeta()
    meta.confirmedUnknown = number
    self.meta = meta
  }

  /// Writes the source mark, if the store is exactly at the epoch, version and digest that a follower made equal to the
  /// source.
  /// - Parameters:
  ///   - moment: In microseconds of Redis's clock, from before the source was read.
  ///   - now: Redis's time.
  /// - Returns: Whether it was written.
  public mutating func mark(
    _ moment: UInt64, of epoch: String, at version: UInt64, digest: Digest, now: UInt64
  ) throws(StoreRefusal) -> Bool {
    let meta = try readMeta()
    guard meta.epoch == epoch, meta.version == version, meta.digest == digest, moment <= now else { return false }
    self.meta?.sourceMark = moment
    self.meta?.sourceVersion = version
    return true
  }

  /// Sets the maximum age of the source mark; nil for none.
  public mutating func setSourceMaxAge(_ maxAge: Duration?) throws(StoreRefusal) {
    _ = try readMeta()
    meta?.sourceMaxAge = maxAge
    meta?.hasNoSourceLimit = maxAge == nil
  }

  /// Says how many replicas could take the server's place.
  public mutating func declare(replicas: Int) throws(StoreRefusal) {
    var meta = try readMeta()
    meta.replicas = replicas
    self.meta = meta
  }

  private func readMeta() throws(StoreRefusal) -> Meta {
    guard let read = meta else {
      try refuseLeftovers()
      throw StoreRefusal(.absent, "there is no key store")
    }
    if read.rebuildingTo != nil { throw StoreRefusal(.rebuilding, "the store is being rebuilt") }
    guard KeyRecord.schemas.contains(read.schema) else {
      throw StoreRefusal(.otherKind, "the store has schema \(read.schema)")
    }
    if streamLastID > read.version {
      throw StoreRefusal(.broken, "the change stream goes to \(streamLastID), but meta is at version \(read.version)")
    }
    return read
  }

  private func describe(_ index: Int, in meta: Meta) throws(StoreRefusal) -> BucketSummary {
    switch buckets[index].summary {
    case .absent: throw StoreRefusal(.broken, "no summary in bucket \(index)")
    case .unreadable: throw StoreRefusal(.broken, "unreadable summary in bucket \(index)")
    case .written(let summary, _):
      guard summary.version <= meta.version else {
        throw StoreRefusal(.broken, "bucket \(index) was changed at \(summary.version), meta is at \(meta.version)")
      }
      return summary
    }
  }

  private mutating func append(_ change: Change) {
    stream.append(change)
    streamLastID = change.version
  }

  // MARK: The reads

  /// - Parameter time: Redis's time, in microseconds since 1970; nil if it isn't read in the same step.
  public func position(at time: UInt64? = nil) -> StoreAnswer<StorePosition> {
    guard let meta else { return .noStore }
    if meta.rebuildingTo != nil { return .incompatible("the store is being rebuilt") }
    guard KeyRecord.schemas.contains(meta.schema) else {
      return .incompatible("the store has schema \(meta.schema), this build reads schema \(KeyRecord.schema)")
    }
    return .found(
      StorePosition(
        epoch: meta.epoch, version: meta.version, count: meta.count, digest: meta.digest, sealed: meta.sealed,
        announced: meta.announced, confirmed: meta.confirmed, replicas: meta.replicas,
        store: StoreIdentity(id: meta.store, name: meta.name), adopted: meta.adopted,
        confirmedUnknown: meta.confirmedUnknown,
        source: SourceMark(
          moment: meta.sourceMark, version: meta.sourceVersion, maxAge: meta.sourceMaxAge,
          saysNoLimit: meta.hasNoSourceLimit, readAt: time)))
  }

  public func manifest() -> StoreAnswer<Manifest> {
    let position: StorePosition
    switch self.position() {
    case .noStore: return .noStore
    case .incompatible(let why): return .incompatible(why)
    case .found(let found): position = found
    }
    let summaries: [BucketSummary?] = buckets.map { bucket in
      switch bucket.summary {
      case .written(let summary, _): summary
      case .absent, .unreadable: nil
      }
    }
    return .found(Manifest(position: position, buckets: summaries, lengths: buckets.map(\.fields.count)))
  }

  public func bucket(_ index: Int) -> RawBucket {
    let text: [UInt8]? =
      switch buckets[index].summary {
      case .absent: nil
      case .written(_, let text), .unreadable(let text): text
      }
    return RawBucket(summary: text, fields: buckets[index].fields.map { ($0.name, $0.record) })
  }

  /// The changes after a version that are still in the stream, the oldest first.
  public func changes(after version: UInt64, atMost limit: Int = .max) -> [Change] {
    guard let first = stream.firstIndex(where: { $0.version > version }) else { return [] }
    return Array(stream[first...].prefix(limit))
  }
}
