// A mirror as bytes, so that a restarted node can admit known keys before the store has answered.
//
// An image proves nothing about the store: its content is compared with the manifest, by digest, as always, and until
// then no key is refused. So the buckets may be from different moments; each bucket is consistent, and that is enough.
// But the image must not be damaged, so it has a checksum over everything. It also names the store that it was made
// from. If another store is at the address, the image is evidence that the address is wrong: the image's keys stay
// admitted, and no key is refused (see StoreIdentity).
//
// Format, little-endian: magic (8); length of the source (2) and source; when the store last answered (8, seconds since
// 1970 as a double); how many intended removals had been counted (8); whether the store is known (1; 2 if the maximum
// age of its source mark is known too), and if so its version (8), its latest confirmation (8), for 2 the maximum age
// in milliseconds (8), and its epoch, ID and name, each as length (2) and text; number of accounts (4), and each as
// length (1) and name; number of buckets (4), and each as the time at which the store last had this content (8), number
// of entries (4) and entries of 41 bytes: ID (16), digest (16), account (4), state (1), end in seconds since 1970 or 0
// (4), in the bucket's order. Then the SHA-256 of all that.

internal import Crypto

extension Replica {
  /// The current mirror, to be saved; nil if it has never been a whole, sealed store: at the next start a part would be
  /// mistaken for the whole.
  ///
  /// Keys whose removal isn't decided are saved as active, with a digest that matches no store. So their buckets are
  /// read again after the next start, and their removal is judged again.
  /// - Parameters:
  ///   - source: The name of the source in the image.
  ///   - wall: The current time, in seconds since 1970.
  public func image(source: String, at now: Instant, wall: Double) -> MirrorImage? {
    guard let answeredAt, wasWhole else { return nil }
    let (table, count) = (mirror.table, mirror.table.bucketCount)
    var unsettled: [Int: [BucketTable.Entry]] = [:]
    var until: [Int: Instant] = [:]
    for bucket in 0..<count { until[bucket] = table.heldUntil(bucket: bucket) }
    for (bucket, former, formerUntil) in mirror.former.all {
      unsettled[bucket] = former.entries.filter { $0.state == .active }
      until[bucket] = [until[bucket], formerUntil].compactMap { $0 }.min()
    }
    for (key, held) in removalGuard.quarantined.merging(losses.vanished, uniquingKeysWith: { $1 }) {
      let entry = BucketTable.Entry(
        key.id0, key.id1, state: .active, account: table.accountNumber(of: held.account), expiry: held.expiry)
      unsettled[key.bucket(of: count), default: []].append(entry)
    }
    func time(_ moment: Instant) -> Double { wall - (now - moment).fractionalSeconds }
    return MirrorImage(
      source: source, heardAt: time(answeredAt), announced: removalGuard.announced ?? 0,
      held: until.mapValues { time($0) - limits.admitAge.fractionalSeconds }, memory: currentMemory, table: table,
      unsettled: unsettled)
  }

  /// What is known of the mirrored store now.
  private var currentMemory: StoreMemory? {
    // Until the store has answered: what an earlier process knew.
    if let memory { return memory }
    guard let epoch = mirror.epoch, let store = expected.mirrored ?? met else { return nil }
    return StoreMemory(
      store: store, epoch: epoch, version: mirror.applied, confirmed: losses.latestConfirmation ?? 0,
      sourceMaxAge: knownMaxAge)
  }
}

/// A mirror, read from or written to a state file.
public struct MirrorImage: Sendable {
  /// The mirrored store: its address and namespace, without secrets.
  public var source: String
  /// When the last answered read was sent, in seconds since 1970.
  public var heardAt: Double
  /// The number of marked removals at that time.
  public var announced: UInt64
  /// Buckets that the store had changed, with the time at which it last had the saved content, in seconds since 1970.
  public var held: [Int: Double]
  /// The store that it was made from; nil in a state file of a build that didn't know stores' IDs.
  public var memory: StoreMemory?
  public var table: KeyTable
  /// Keys by bucket that are saved as active, whatever their state in the table.
  private let unsettled: [Int: [BucketTable.Entry]]

  public init(
    source: String, heardAt: Double, announced: UInt64, held: [Int: Double] = [:], memory: StoreMemory? = nil,
    table: KeyTable
  ) {
    self.init(
      source: source, heardAt: heardAt, announced: announced, held: held, memory: memory, table: table, unsettled: [:])
  }

  fileprivate init(
    source: String, heardAt: Double, announced: UInt64, held: [Int: Double], memory: StoreMemory?, table: KeyTable,
    unsettled: [Int: [BucketTable.Entry]]
  ) {
    self.source = source
    self.heardAt = heardAt
    self.announced = announced
    self.held = held
    self.memory = memory
    self.table = table
    self.unsettled = unsettled
  }

  /// The last byte is the format's version.
  private static let magic = Array("SLUICEM5".utf8)
  /// The format of builds without key expiry.
  private static let magicWithoutExpiry = Array("SLUICEM4".utf8)
  /// The format of builds without key expiry and store IDs.
  private static let magicWithoutID = Array("SLUICEM3".utf8)

  /// The image as bytes. May be called during writes to the table.
  public func encoded() -> [UInt8] {
    var body: [UInt8] = []
    var names: [AccountNames.Number: UInt32] = [:]
    var accounts: [String] = []
    body.append(integer: UInt32(table.bucketCount))
    for index in 0..<table.bucketCount {
      var bucket = table.bucket(index)
      for entry in unsettled[index] ?? [] where bucket.find(entry.id0, entry.id1)?.state != .active {
        // A digest that no record has, so that the bucket never matches the store's. Without a digest an empty bucket
        // could match, if the count agrees by chance.
        bucket.put(entry, digest: Digest(high: ~entry.id0, low: ~entry.id1))
      }
      body.append(integer: (held[index] ?? heardAt).bitPattern)
      body.append(integer: UInt32(bucket.count))
      for (entry, digest) in bucket.records {
        body.append(integer: entry.id0)
        body.append(integer: entry.id1)
        body.append(integer: digest.high)
        body.append(integer: digest.low)
        let number = names[entry.account] ?? UInt32(accounts.count)
        if number == accounts.count {
          names[entry.account] = number
          accounts.append(table.accountName(of: entry.account))
        }
        body.append(integer: number)
        body.append(entry.state.rawValue)
        body.append(integer: entry.expiry.seconds)
      }
    }
    var bytes = Self.magic
    bytes.append(integer: UInt16(source.utf8.count))
    bytes += source.utf8
    bytes.append(integer: heardAt.bitPattern)
    bytes.append(integer: announced)
    // A description that somebody edited by hand may have texts of any length.
    let memory = memory.flatMap { $0.isStorable ? $0 : nil }
    let maxAge = memory?.sourceMaxAge.map { UInt64($0.wholeNanoseconds / 1_000_000) }
    bytes.append(memory == nil ? 0 : maxAge == nil ? 1 : 2)
    if let memory {
      bytes.append(integer: memory.version)
      bytes.append(integer: memory.confirmed)
      if let maxAge { bytes.append(integer: maxAge) }
      for text in memory.texts {
        bytes.append(integer: UInt16(text.utf8.count))
        bytes += text.utf8
      }
    }
    bytes.append(integer: UInt32(accounts.count))
    for account in accounts {
      // Longer names don't occur: a record with one isn't decoded.
      bytes.append(UInt8(account.utf8.count))
      bytes += account.utf8
    }
    bytes += body
    bytes += SHA256.hash(data: bytes)
    return bytes
  }

  /// - Parameters:
  ///   - source: The address and namespace of the expected store. It counts only where the image has no ID.
  ///   - bucketCount: The expected number of buckets.
  /// - Throws: ``UnusableImage``, with what was expected and what was found.
  public init(decoding bytes: [UInt8], source: String, bucketCount: Int) throws(UnusableImage) {
    let isWithoutID = bytes.starts(with: Self.magicWithoutID)
    let hasExpiry = bytes.starts(with: Self.magic)
    guard bytes.count >= Self.magic.count + SHA256.byteCount,
      hasExpiry || isWithoutID || bytes.starts(with: Self.magicWithoutExpiry)
    else {
      throw UnusableImage("expected a state file of this version, got \(bytes.count) bytes of something else")
    }
    let content = bytes.dropLast(SHA256.byteCount)
    let digest = content.withUnsafeBytes { SHA256.hash(data: $0) }
    guard digest.elementsEqual(bytes.suffix(SHA256.byteCount)) else {
      throw UnusableImage("its checksum doesn't fit its \(bytes.count) bytes: it was cut off or damaged")
    }
    var reader = ImageReader(bytes: content.dropFirst(Self.magic.count))
    let named = try reader.text(length: Int(reader.integer(UInt16.self)))
    let heardAt = try reader.time()
    let announced = try reader.integer(UInt64.self)
    let memory = isWithoutID ? nil : try reader.memory()
    // Without its ID a store is told from others only by its address.
    guard named == source || memory != nil else {
      throw UnusableImage("expected a mirror of \(source), got one of \(named)")
    }
    let table = KeyTable(bucketCount: bucketCount)
    var accounts: [AccountNames.Number] = []
    for _ in 0..<(try reader.integer(UInt32.self)) {
      accounts.append(table.accountNumber(of: try reader.text(length: Int(reader.integer(UInt8.self)))))
    }
    let buckets = try reader.integer(UInt32.self)
    guard buckets == bucketCount else { throw UnusableImage("expected \(bucketCount) buckets, got \(buckets)") }
    var held: [Int: Double] = [:]
    for index in 0..<bucketCount {
      let bucketHeardAt = try reader.time()
      if bucketHeardAt != heardAt { held[index] = bucketHeardAt }
      let count = Int(try reader.integer(UInt32.self))
      guard let records = try reader.records(count, accounts: accounts, withExpiry: hasExpiry) else {
        throw UnusableImage("bucket \(index) has an invalid entry")
      }
      table.install(BucketTable(sorted: records), asBucket: index)
    }
    guard reader.isAtEnd else { throw UnusableImage("expected the end after the last bucket, got more bytes") }
    self.init(source: named, heardAt: heardAt, announced: announced, held: held, memory: memory, table: table)
  }
}

/// A state file that can't be used: the node starts without it.
public struct UnusableImage: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = "unusable state file: \(description)" }
}

private struct ImageReader {
  private let bytes: ArraySlice<UInt8>
  private var position: Int

  init(bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    position = bytes.startIndex
  }

  var isAtEnd: Bool { position == bytes.endIndex }

  func require(_ count: Int) throws(UnusableImage) {
    guard count <= bytes.endIndex - position else {
      throw UnusableImage("expected \(count) more bytes, but \(bytes.endIndex - position) are left")
    }
  }

  mutating func integer<Integer: FixedWidthInteger>(_: Integer.Type) throws(UnusableImage) -> Integer {
    let size = MemoryLayout<Integer>.size
    try require(size)
    let value = bytes.withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: position - bytes.startIndex, as: Integer.self)
    }
    position += size
    return Integer(littleEndian: value)
  }

  /// - Returns: nil if an entry has an invalid account or state, or is in a slot where it wouldn't be found.
  mutating func records(
    _ count: Int, accounts: [AccountNames.Number], withExpiry hasExpiry: Bool
  ) throws(UnusableImage) -> [(entry: BucketTable.Entry, digest: Digest)]? {
    let size = hasExpiry ? 41 : 37
    try require(count * size)
    defer { position += count * size }
    return bytes.withUnsafeBytes { bytes in
      var records: [(entry: BucketTable.Entry, digest: Digest)] = []
      records.reserveCapacity(count)
      var last: UInt64 = 0
      for number in 0..<count {
        let at = position - self.bytes.startIndex + number * size
        func word(_ offset: Int) -> UInt64 {
          UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at + offset, as: UInt64.self))
        }
        let account = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at + 32, as: UInt32.self)))
        let id1 = word(8)
        let seconds =
          hasExpiry ? UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at + 37, as: UInt32.self)) : 0
        guard account < accounts.count, let state = KeyState(rawValue: bytes[at + 36]), id1 >= last else { return nil }
        let entry = BucketTable.Entry(
          word(0), id1, state: state, account: accounts[account], expiry: KeyExpiry(seconds: seconds))
        records.append((entry, Digest(high: word(16), low: word(24))))
        last = id1
      }
      return records
    }
  }

  mutating func memory() throws(UnusableImage) -> StoreMemory? {
    let flag = try integer(UInt8.self)
    guard flag <= 2 else { throw UnusableImage("expected 0 to 2 as the flag of the store's section, got \(flag)") }
    if flag == 0 { return nil }
    let (version, confirmed) = (try integer(UInt64.self), try integer(UInt64.self))
    var maxAge: Duration?
    if flag == 2 {
      let milliseconds = try integer(UInt64.self)
      guard milliseconds <= SourceMark.maxAgeLimit else {
        throw UnusableImage("expected a maximum age of the source mark, got \(milliseconds) ms")
      }
      maxAge = .milliseconds(Int64(milliseconds))
    }
    let epoch = try text(length: Int(integer(UInt16.self)))
    let id = try text(length: Int(integer(UInt16.self)))
    let name = try text(length: Int(integer(UInt16.self)))
    return StoreMemory(
      store: StoreIdentity(id: id, name: name.isEmpty ? nil : name), epoch: epoch, version: version,
      confirmed: confirmed, sourceMaxAge: maxAge)
  }

  mutating func time() throws(UnusableImage) -> Double {
    let time = Double(bitPattern: try integer(UInt64.self))
    guard time.isFinite else { throw UnusableImage("a time isn't a finite number") }
    return time
  }

  mutating func text(length: Int) throws(UnusableImage) -> String {
    try require(length)
    defer { position += length }
    guard let text = String(validating: bytes[position..<position + length], as: UTF8.self) else {
      throw UnusableImage("a name isn't UTF-8")
    }
    return text
  }
}

extension StoreMemory {
  fileprivate var texts: [String] { [epoch, store.id, store.name ?? ""] }
  fileprivate var isStorable: Bool { texts.allSatisfy { $0.utf8.count <= 1000 } }
}

extension [UInt8] {
  fileprivate mutating func append(integer: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: integer.littleEndian) { append(contentsOf: $0) }
  }
}
