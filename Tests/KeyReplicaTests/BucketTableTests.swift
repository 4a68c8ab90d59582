import Testing

@testable import KeyReplica

@Suite struct BucketTableTests {
  @Test func `it does what a dictionary does, and its digest is that of what is in it`() throws {
    var random = Jitter(state: try TestSeed.announced(for: "BucketTable"))
    for (capacity, atEnd) in [(nil, false), (0, true), (1, false), (100, true), (400, false)] as [(Int?, Bool)] {
      var table = capacity.map { BucketTable(capacity: $0) } ?? BucketTable()
      var model: [KeyID: (state: KeyState, account: UInt32, digest: Digest)] = [:]
      for _ in 0..<1500 {
        let id = TestKeys.crowded(Int.random(in: 0..<400, using: &random), atEnd: atEnd)
        let state = KeyState.allCases.randomElement(using: &random)!
        let account = UInt32.random(in: 0..<(1 << 30), using: &random)
        let digest = Digest(high: random.next(), low: random.next())
        table.put(id, state: state, account: .init(account), digest: digest)
        model[id] = (state, account, digest)
        let other = TestKeys.crowded(Int.random(in: 0..<500, using: &random), atEnd: atEnd)
        #expect(table.find(other)?.account.value == model[other]?.account)
      }
      #expect(table.count == model.count)
      #expect(table.digest == model.values.reduce(into: .empty) { $0 ^= $1.digest })
      for (id, expected) in model {
        let found = try #require(table.find(id))
        #expect(found.state == expected.state && found.account.value == expected.account)
      }
      #expect(table.activeCount == model.values.count { $0.state == .active })
      let records = Array(table.records)
      #expect(records.count == model.count)
      #expect(Array(table.entries.map(\.id1)) == records.map(\.entry.id1))
      #expect(records.map(\.entry.id1) == records.map(\.entry.id1).sorted())
      let digests = Dictionary(uniqueKeysWithValues: records.map { ([$0.entry.id0, $0.entry.id1], $0.digest) })
      for (id, expected) in model { #expect(digests[[id.words.0, id.words.1]] == expected.digest) }

      let again = BucketTable(sorted: records)
      #expect(again.count == table.count && again.digest == table.digest && again.activeCount == table.activeCount)
      for id in model.keys { #expect(again.find(id)?.account == table.find(id)?.account) }
    }
  }

  @Test func `what is taken out is gone, and everything else is found`() throws {
    var random = Jitter(state: try TestSeed.announced(for: "BucketTableRemoval"))
    for (crowd, atEnd) in [(4, false), (40, true), (400, false)] {
      var table = BucketTable()
      var model: [KeyID: (state: KeyState, digest: Digest)] = [:]
      for _ in 0..<2000 {
        let id = TestKeys.crowded(Int.random(in: 0..<crowd, using: &random), atEnd: atEnd)
        if Bool.random(using: &random) {
          let state = KeyState.allCases.randomElement(using: &random)!
          let digest = Digest(high: random.next(), low: random.next())
          table.put(id, state: state, account: .init(7), digest: digest)
          model[id] = (state, digest)
        } else {
          table.remove(id)
          model[id] = nil
        }
        #expect(table.count == model.count)
        #expect(table.activeCount == model.values.count { $0.state == .active })
        #expect(table.digest == model.values.reduce(into: .empty) { $0 ^= $1.digest })
        let other = TestKeys.crowded(Int.random(in: 0..<crowd, using: &random), atEnd: atEnd)
        #expect(table.find(other)?.state == model[other]?.state)
      }
      for number in 0..<crowd {
        let id = TestKeys.crowded(number, atEnd: atEnd)
        #expect(table.find(id)?.state == model[id]?.state)
      }
      let digests = Dictionary(uniqueKeysWithValues: table.records.map { ([$0.entry.id0, $0.entry.id1], $0.digest) })
      for (id, expected) in model { #expect(digests[[id.words.0, id.words.1]] == expected.digest) }
      for id in model.keys { table.remove(id) }
      #expect(table.count == 0 && table.digest == .empty && table.activeCount == 0)
    }
  }
}

enum TestKeys {
  /// Ids that share what a table sorts by, so that they collide: they have 64 different second words, close together at one end.
  static func crowded(_ number: Int, atEnd: Bool = false) -> KeyID {
    var bytes = [UInt8](repeating: 0, count: 32)
    bytes[7] = UInt8(number & 0xff)
    bytes[6] = UInt8(number >> 8)
    bytes[8] = UInt8(number & 0xf) | (atEnd ? 0xf0 : 0)
    bytes[15] = UInt8(number >> 4 & 0x3)
    return KeyID(bytes: bytes)!  // 32 bytes, as always.
  }
}
