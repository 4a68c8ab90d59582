// The store's description of itself. A position is (epoch, version, digest), as in LiteFS. A version alone can't
// distinguish two histories that continued from the same point, for example after a lagging replica was promoted. The
// digest of all records can.

/// A store's position in its history.
public struct StorePosition: Sendable, Hashable {
  /// The random ID of this history.
  public var epoch: String
  /// The number of changes in this history.
  public var version: UInt64
  /// The number of records, in all states.
  public var count: Int
  /// The digest of all records.
  public var digest: Digest
  /// Whether the publisher has declared the store complete.
  public var sealed: Bool
  /// The number of marked removals in this history: keys that lists revoked or suspended after the publisher's guard
  /// had allowed it.
  public var announced: UInt64
  /// The version up to which an operator has confirmed all removals.
  public var confirmed: UInt64
  /// How many replicas could become primary, as declared; nil if none was declared.
  public var replicas: Int?
  /// Which store this is. It stays the same in all histories of the store.
  public var store: StoreIdentity
  /// The IDs and names of stores that this one replaces, as an operator said.
  public var adopted: [String]
  /// The number of distinct unknown keys that an operator has confirmed: see `RefusalValve`.
  public var confirmedUnknown: Int
  /// Up to which moment the store is equal to the source.
  public var source: SourceMark

  /// - Parameter store: Nil for a store that has no ID yet: then its epoch is its ID.
  public init(
    epoch: String, version: UInt64, count: Int, digest: Digest, sealed: Bool, announced: UInt64 = 0,
    confirmed: UInt64 = 0, replicas: Int? = nil, store: StoreIdentity? = nil, adopted: [String] = [],
    confirmedUnknown: Int = 0, source: SourceMark = SourceMark()
  ) {
    self.epoch = epoch
    self.version = version
    self.count = count
    self.digest = digest
    self.sealed = sealed
    self.announced = announced
    self.confirmed = confirmed
    self.replicas = replicas
    self.store = store ?? StoreIdentity(id: epoch)
    self.adopted = adopted
    self.confirmedUnknown = confirmedUnknown
    self.source = source
  }

  /// Redis's time when the position was read, from the same step: in microseconds since 1970. Nil if Redis denies the
  /// command `TIME`.
  public var time: UInt64? {
    get { source.readAt }
    set { source.readAt = newValue }
  }
}

/// A bucket's summary, in a field of its own hash: `count digest version`.
public struct BucketSummary: Sendable, Hashable {
  public var count: Int
  public var digest: Digest
  /// The version of the bucket's last change.
  public var version: UInt64

  /// The summary of a bucket in a new store.
  public static let empty = BucketSummary(count: 0, digest: .empty, version: 0)

  public init(count: Int, digest: Digest, version: UInt64) {
    self.count = count
    self.digest = digest
    self.version = version
  }

  /// Nil unless the text is `count digest version`.
  public init?(decoding bytes: some Collection<UInt8>) {
    let parts = String(decoding: bytes, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
    guard parts.count == 3, let count = Int(parts[0]), count >= 0, let digest = Digest(hex: parts[1]),
      let version = UInt64(parts[2]), parts[0] == "\(count)", parts[2] == "\(version)"
    else { return nil }
    self.init(count: count, digest: digest, version: version)
  }
}

/// The store's description, read in one atomic step.
public struct Manifest: Sendable, Hashable {
  public var position: StorePosition
  /// Nil if a bucket's summary is missing or unreadable: that bucket can't be proven, but the others can.
  public var buckets: [BucketSummary?]
  /// The real number of records of each bucket. It differs from the summary's if the bucket was edited by hand.
  public var lengths: [Int]

  public init(position: StorePosition, buckets: [BucketSummary?], lengths: [Int]) {
    self.position = position
    self.buckets = buckets
    self.lengths = lengths
  }

  /// Count and digest of all buckets by their summaries, without unreadable ones.
  public var sum: (count: Int, digest: Digest) {
    buckets.reduce(into: (0, Digest.empty)) { sum, bucket in
      sum.count += bucket?.count ?? 0
      sum.digest ^= bucket?.digest ?? .empty
    }
  }

  /// Whether the buckets' summaries add up to the totals.
  public var fitsTogether: Bool { sum == (position.count, position.digest) }
}

/// The answer to a read of the store's own description.
public enum StoreAnswer<Value: Sendable & Hashable>: Sendable, Hashable {
  case found(Value)
  /// Redis answered, and it has no store: never populated, flushed, or another Redis.
  case noStore
  /// The store has a format that this build can't read; the reason as text.
  case incompatible(String)
}

/// One entry of the change stream.
public struct Change: Sendable, Hashable {
  public enum Effect: Sendable, Hashable {
    /// The record of a key was written.
    case put(KeyID, record: [UInt8], bucket: Int, after: BucketSummary)
    /// The record of a key that was revoked long ago was removed.
    case purge(KeyID, bucket: Int, after: BucketSummary)
    /// The store was sealed.
    case seal
    /// An operator confirmed all removals up to this version.
    case confirm
    /// An entry that this build can't read; the reason as text.
    case undecodable(String)
  }

  /// The epoch of its history. A store that was created again has other changes with the same versions.
  public var epoch: String
  public var version: UInt64
  /// The digest of the whole store after this change.
  public var total: Digest
  public var effect: Effect
  /// Whether this takes an active key out of service, and a publisher's guard has allowed it. The mark is in the change
  /// itself, so that it can't apply to any other removal.
  public var isAgreed: Bool

  public init(epoch: String, version: UInt64, total: Digest, effect: Effect, isAgreed: Bool = false) {
    self.epoch = epoch
    self.version = version
    self.total = total
    self.effect = effect
    self.isAgreed = isAgreed
  }
}
