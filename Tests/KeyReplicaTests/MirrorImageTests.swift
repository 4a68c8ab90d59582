import Crypto
import Testing

@testable import KeyReplica

/// A state file is taken whole and sound, or not at all.
struct MirrorImageTests {
  private static func end(_ number: Int) -> Int64? { number % 5 == 4 ? 1_795_219_200 + Int64(number) : nil }

  private func table(keys: Int) -> KeyTable {
    let table = KeyTable(bucketCount: 8)
    for number in 0..<keys {
      let id = KeyID(secret: "key-\(number)".utf8)
      let state = KeyState.allCases[number % 3]
      let record = KeyRecord(
        state: state, since: Int64(number), expiresAt: Self.end(number), account: "account \(number % 7) é")
      _ = table.put(id, record, digest: Digest(of: id, record: record.encoded))
    }
    return table
  }

  private func image(keys: Int) -> MirrorImage {
    MirrorImage(source: "redis://here, namespace x", heardAt: 17.5, announced: 3, table: table(keys: keys))
  }

  private func decoded(_ bytes: [UInt8]) throws -> MirrorImage {
    try MirrorImage(decoding: bytes, source: "redis://here, namespace x", bucketCount: 8)
  }

  @Test(arguments: [0, 1, 8, 500]) func `what was saved comes back, record by record`(keys: Int) throws {
    let original = image(keys: keys)
    let restored = try decoded(original.encoded())
    #expect(restored.heardAt == 17.5)
    #expect(restored.announced == 3)
    #expect(restored.table.count == keys)
    for bucket in 0..<8 {
      let (before, after) = (original.table.contents(ofBucket: bucket), restored.table.contents(ofBucket: bucket))
      #expect(before.count == after.count && before.digest == after.digest)
    }
    for number in 0..<keys {
      let id = KeyID(secret: "key-\(number)".utf8)
      let (before, after) = (try #require(original.table.find(id)), try #require(restored.table.find(id)))
      #expect(before.state == after.state && before.account == after.account)
      #expect(restored.table.expiry(id) == Self.end(number))
    }
    #expect(restored.table.find(KeyID(secret: "key-\(keys)".utf8)) == nil)
  }

  @Test func `a bucket that was older than the rest when it was saved is so when it comes back`() throws {
    var original = image(keys: 20)
    original.held = [3: 12.25]
    let restored = try decoded(original.encoded())
    #expect(restored.held == [3: 12.25] && restored.heardAt == 17.5)

    let heard = Instant(nanoseconds: 0)
    var limits = Replica.Limits()
    limits.admitAge = .seconds(100)
    let replica = Replica(
      table: restored.table, limits: limits, restoredFrom: heard, held: [3: heard + .seconds(-40)], seed: 1, now: heard)
    #expect(replica.image(source: "x", at: heard, wall: 50)?.held == [3: 10])
    #expect(restored.table.heldUntil(bucket: 3) == heard + .seconds(60))
    #expect(restored.table.heldUntil(bucket: 4) == nil)
  }

  @Test func `an image in which any one bit differs is refused`() throws {
    let bytes = image(keys: 5).encoded()
    for position in bytes.indices {
      var damaged = bytes
      damaged[position] ^= 1 << UInt8(position % 8)
      #expect(throws: UnusableImage.self, "byte \(position)") { try decoded(damaged) }
    }
  }

  @Test func `an image that was cut off anywhere, or has something behind it, is refused`() throws {
    let bytes = image(keys: 5).encoded()
    for length in 0..<bytes.count {
      #expect(throws: UnusableImage.self, "\(length) bytes") { try decoded(Array(bytes.prefix(length))) }
    }
    #expect(throws: UnusableImage.self) { try decoded(bytes + [0]) }
  }

  @Test func `an image with entries that make no sense, or in no order, is refused although its checksum fits`() throws
  {
    let sound = image(keys: 500).encoded().dropLast(32)
    let (entry, end) = (41, sound.endIndex)
    func expectRefusal(_ what: Comment, _ damage: (inout ArraySlice<UInt8>) -> Void) {
      var content = sound
      damage(&content)
      let error = #expect(throws: UnusableImage.self, what) {
        // The checksum is a SHA-256, as is a key's id.
        try decoded(Array(content) + KeyID(secret: content).bytes)
      }
      #expect(error?.description.contains("bucket 7 has an invalid entry") == true, what)
    }
    _ = try decoded(Array(sound) + KeyID(secret: sound).bytes)
    expectRefusal("a state that there isn't") { $0[end - 5] = 3 }
    expectRefusal("an account that there isn't") { $0[end - 9] = 7 }
    expectRefusal("the last two the other way round") { content in
      content.replaceSubrange(
        (end - 2 * entry)..., with: Array(sound[(end - entry)...] + sound[(end - 2 * entry)..<(end - entry)]))
    }
  }

  @Test func `an image of another store is refused by name`() throws {
    let error = #expect(throws: UnusableImage.self) {
      try MirrorImage(decoding: image(keys: 5).encoded(), source: "redis://there, namespace x", bucketCount: 8)
    }
    #expect(error?.description.contains("redis://here") == true)
    #expect(error?.description.contains("redis://there") == true)
  }

  @Test(arguments: [nil, "production"], [nil, .milliseconds(60_001)] as [Duration?])
  func `an image that knows its store is of use at any address`(name: String?, maxAge: Duration?) throws {
    let memory = StoreMemory(
      store: StoreIdentity(id: "77ab", name: name), epoch: "e", version: 1 << 40, confirmed: 1 << 39,
      sourceMaxAge: maxAge)
    let image = MirrorImage(
      source: "redis://here", heardAt: 17.5, announced: 3, memory: memory, table: table(keys: 5))
    let again = try MirrorImage(decoding: image.encoded(), source: "redis://there", bucketCount: 8)
    #expect(again.memory == memory && again.source == "redis://here" && again.table.count == 5)
  }

  /// An image as a build wrote it that didn't know the ends of keys.
  private func withoutExpiry(_ bytes: [UInt8]) -> [UInt8] {
    var (former, at) = (Array("SLUICEM4".utf8), 8)
    func number(_ size: Int) -> Int { (0..<size).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) } }
    func copy(_ count: Int) {
      former += bytes[at..<at + count]
      at += count
    }
    // The source, two times, and that the store isn't known.
    copy(2 + number(2))
    copy(17)
    let accounts = number(4)
    copy(4)
    for _ in 0..<accounts { copy(1 + number(1)) }
    let buckets = number(4)
    copy(4)
    for _ in 0..<buckets {
      copy(8)
      let entries = number(4)
      copy(4)
      for _ in 0..<entries {
        copy(37)
        at += 4
      }
    }
    return former + SHA256.hash(data: former)
  }

  @Test func `an image of a build that didn't know the ends of keys is read`() throws {
    let image = try decoded(withoutExpiry(image(keys: 50).encoded()))
    #expect(image.table.count == 50)
    #expect((0..<50).allSatisfy { image.table.expiry(KeyID(secret: "key-\($0)".utf8)) == nil })
  }

  @Test func `an image of a build that didn't know stores' IDs is read`() throws {
    var bytes = withoutExpiry(image(keys: 5).encoded())
    let source = "redis://here, namespace x"
    bytes.replaceSubrange(0..<8, with: "SLUICEM3".utf8)
    // The flag that says that the store isn't known.
    bytes.remove(at: 8 + 2 + source.utf8.count + 16)
    let content = bytes.dropLast(SHA256.byteCount)
    let former = Array(content) + SHA256.hash(data: content)
    let image = try MirrorImage(decoding: former, source: source, bucketCount: 8)
    #expect(image.memory == nil && image.table.count == 5)
  }

  @Test func `an image with another number of buckets is refused`() throws {
    #expect(throws: UnusableImage.self) {
      try MirrorImage(decoding: image(keys: 5).encoded(), source: "redis://here, namespace x", bucketCount: 16)
    }
  }

  @Test func `a restored mirror admits what it holds, refuses nobody, and ages from when the store was heard`() throws {
    let table = table(keys: 3)
    let heard = Instant(nanoseconds: 0)
    var limits = Replica.Limits()
    limits.admitAge = .seconds(100)
    let active = KeyID(secret: "key-0".utf8)
    let unknown = KeyID(secret: "nobody".utf8)
    var replica = Replica(table: table, limits: limits, restoredFrom: heard, seed: 1, now: heard + .seconds(60))
    #expect(replica.status(at: heard + .seconds(60)).completeness.state == .restored)
    #expect(replica.status(at: heard + .seconds(60)).age == .seconds(60))

    func verdict(of key: KeyID, at now: Instant) -> Verdict? {
      for case .answer(_, let verdict) in replica.handle(.asked(Question(number: 1, key: key)), now: now) {
        return verdict
      }
      return nil
    }
    #expect(verdict(of: active, at: heard + .seconds(99)) == .admit(account: "account 0 é"))
    guard case .undecided(.storeAway) = verdict(of: unknown, at: heard + .seconds(99)) else {
      Issue.record("a restored mirror answered for a key that it doesn't hold")
      return
    }
    guard case .undecided(.stale) = verdict(of: active, at: heard + .seconds(100)) else {
      Issue.record("a mirror that is too old admitted somebody")
      return
    }
  }
}
