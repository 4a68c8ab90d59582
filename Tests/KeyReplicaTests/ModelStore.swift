// A key store in a few lines of memory, for the tests of the state machine: what Redis and the scripts keep, and every state
// it ever was in, so that a proof can be held against what was true. Whatever it can suffer is in `Damage`.

@testable import KeyReplica

struct ModelStore {
  /// The true content of the store from one moment to another (nil: until now).
  struct Snapshot {
    let epoch: String
    let version: UInt64
    let sealed: Bool
    let keys: [KeyID: KeyRecord]
    let from: Instant
    var until: Instant?
  }

  /// Damage to a bucket by a fault, or by an operator with redis-cli.
  enum Damage: CaseIterable {
    case lostBucket, lostField, editedField, undecodableField, foreignField, unreadableSummary, summaryFromTheFuture
  }

  let bucketCount: Int
  private(set) var history: [Snapshot] = []
  /// Nil while there is no store in this Redis.
  private(set) var current: Snapshot?
  private(set) var stream: [Change] = []
  var damaged: [Int: Damage] = [:]
  var wrongTotal = false
  /// As declared.
  var replicas: Int?
  /// In all its histories, unless a test says that it is another one.
  var identity = StoreIdentity(id: "the store")
  var adopted: [String] = []
  /// The number of unknown keys that an operator confirmed.
  var confirmedUnknown = 0
  /// The source mark, and Redis's time as the next position has it.
  var source = SourceMark()
  /// Redis's time, in microseconds since 1970; nil if it is denied.
  var time: UInt64? {
    get { source.readAt }
    set { source.readAt = newValue }
  }
  private var announced: UInt64 = 0
  private var confirmed: UInt64 = 0
  private var lastChange: [UInt64]
  private var epochs = 0

  init(bucketCount: Int) {
    self.bucketCount = bucketCount
    lastChange = Array(repeating: 0, count: bucketCount)
  }

  // MARK: Writing

  mutating func begin(with keys: [KeyID: KeyRecord], sealed: Bool = true, at now: Instant) {
    vanish(at: now)
    epochs += 1
    current = Snapshot(epoch: "epoch \(epochs)", version: 0, sealed: false, keys: [:], from: now)
    for (id, record) in keys.sorted(by: { $0.key.hex < $1.key.hex }) { put(id, record, at: now) }
    if sealed { seal(at: now) }
  }

  /// - Parameter isAgreed: Whether it ends an active key, and somebody agreed to that.
  mutating func put(_ id: KeyID, _ record: KeyRecord, isAgreed: Bool = false, at now: Instant) {
    guard let old = current else { return }
    if isAgreed { announced += 1 }
    var keys = old.keys
    keys[id] = record
    change(to: keys, sealed: old.sealed, at: now)
    let bucket = id.bucket(of: bucketCount)
    lastChange[bucket] = old.version + 1
    stream.append(
      Change(
        epoch: old.epoch, version: old.version + 1, total: Self.digest(keys),
        effect: .put(id, record: record.encoded, bucket: bucket, after: summary(of: bucket)), isAgreed: isAgreed))
  }

  mutating func seal(at now: Instant) {
    guard let old = current else { return }
    change(to: old.keys, sealed: true, at: now)
    stream.append(Change(epoch: old.epoch, version: old.version + 1, total: Self.digest(old.keys), effect: .seal))
  }

  /// An operator confirms all removals.
  mutating func confirm(at now: Instant) {
    guard let old = current else { return }
    change(to: old.keys, sealed: old.sealed, at: now)
    confirmed = old.version + 1
    stream.append(Change(epoch: old.epoch, version: old.version + 1, total: Self.digest(old.keys), effect: .confirm))
  }

  /// FLUSHALL.
  mutating func vanish(at now: Instant) {
    retire(at: now)
    current = nil
    stream = []
    lastChange = Array(repeating: 0, count: bucketCount)
    damaged = [:]
    wrongTotal = false
    announced = 0
    confirmed = 0
  }

  /// A replica that lagged behind becomes the primary, or an old file is loaded: some changes never happened.
  mutating func rewind(by changes: Int, at now: Instant) {
    guard let old = current,
      let target = history.last(where: { $0.epoch == old.epoch && $0.version + UInt64(changes) <= old.version })
    else { return }
    retire(at: now)
    current = Snapshot(
      epoch: old.epoch, version: target.version, sealed: target.sealed, keys: target.keys, from: now)
    stream.removeAll { $0.version > target.version }
    for bucket in lastChange.indices {
      // Of an unchanged bucket the summary is what it was; the version of its last change can be found in no other place.
      lastChange[bucket] = min(lastChange[bucket], target.version)
    }
  }

  mutating func trim(to count: Int) { stream.removeFirst(max(0, stream.count - count)) }

  private mutating func change(to keys: [KeyID: KeyRecord], sealed: Bool, at now: Instant) {
    guard let old = current else { return }
    retire(at: now)
    current = Snapshot(epoch: old.epoch, version: old.version + 1, sealed: sealed, keys: keys, from: now)
  }

  private mutating func retire(at now: Instant) {
    guard var old = current else { return }
    old.until = now
    history.append(old)
  }

  // MARK: Reading

  func position() -> StoreAnswer<StorePosition> {
    guard let current else { return .noStore }
    var digest = Self.digest(current.keys)
    if wrongTotal { digest.low ^= 1 }
    return .found(
      StorePosition(
        epoch: current.epoch, version: current.version, count: current.keys.count, digest: digest,
        sealed: current.sealed, announced: announced, confirmed: confirmed, replicas: replicas,
        store: identity, adopted: adopted, confirmedUnknown: confirmedUnknown, source: source))
  }

  func manifest() -> StoreAnswer<Manifest> {
    guard case .found(let position) = position() else { return .noStore }
    let raw = (0..<bucketCount).map(bucket)
    return .found(
      Manifest(
        position: position,
        buckets: raw.map { $0.summary.flatMap { BucketSummary(decoding: $0) } },
        lengths: raw.map(\.fields.count)))
  }

  func bucket(_ index: Int) -> RawBucket {
    guard let current else { return RawBucket(summary: nil, fields: []) }
    var fields = current.keys.filter { $0.key.bucket(of: bucketCount) == index }
      .map { (id: $0.key.bytes, record: $0.value.encoded) }
    var summary = summary(of: index)
    var text = Array("\(summary.count) \(summary.digest) \(summary.version)".utf8)
    switch damaged[index] {
    case .lostBucket: return RawBucket(summary: nil, fields: [])
    case .lostField: _ = fields.popLast()
    case .editedField where !fields.isEmpty: fields[0].record = Array("1 r 7 somebody else".utf8)
    case .undecodableField where !fields.isEmpty: fields[0].record = Array("2 active".utf8)
    case .foreignField: fields.append((id: Array("note".utf8), record: Array("hello".utf8)))
    case .unreadableSummary: text = Array("many".utf8)
    case .summaryFromTheFuture:
      summary.version += 1000
      text = Array("\(summary.count) \(summary.digest) \(summary.version)".utf8)
    case .editedField, .undecodableField, nil: break
    }
    return RawBucket(summary: text, fields: fields)
  }

  func changes(after version: UInt64) -> [Change] { Array(stream.drop { $0.version <= version }) }

  private func summary(of bucket: Int) -> BucketSummary {
    let keys = current?.keys.filter { $0.key.bucket(of: bucketCount) == bucket } ?? [:]
    return BucketSummary(count: keys.count, digest: Self.digest(keys), version: lastChange[bucket])
  }

  private static func digest(_ keys: [KeyID: KeyRecord]) -> Digest {
    keys.reduce(into: .empty) { $0 ^= Digest(of: $1.key, record: $1.value.encoded) }
  }

  /// A follower marks the present version as equal to the source, as of a moment.
  mutating func mark(asOf moment: UInt64) {
    source.moment = moment
    source.version = current?.version
  }

  // MARK: What was true

  /// Every state that it was in at some moment from then on.
  func states(since then: Instant) -> [Snapshot] {
    let past = history.reversed().prefix { $0.until! >= then }
    return current.map { [$0] + past } ?? Array(past)
  }
}
