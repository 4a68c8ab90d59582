import Testing

@testable import KeyReplica

@Suite struct BucketTableTests {
  @Test func `it does what a dictionary does, and its digest is that of what is in it`() throws {
    var random = Jitter(state: try TestSeed.announced(for: "BucketTable"))
    for capacity in [nil, 0, 1, 100] as [Int?] {
      var table = capacity.map { BucketTable(capacity: $0) } ?? BucketTable()
      var model: [KeyID: (state: KeyState, account: UInt32, digest: Digest)] = [:]
      for _ in 0..<1500 {
        let id = TestKeys.crowded(Int.random(in: 0..<400, using: &random))
        let state = KeyState.allCases.randomElement(using: &random)!
        let account = UInt32.random(in: 0..<(1 << 30), using: &random)
        let digest = Digest(high: random.next(), low: random.next())
        table.put(id, state: state, account: .init(account), digest: digest)
        model[id] = (state, account, digest)
        let other = TestKeys.crowded(Int.random(in: 0..<500, using: &random))
        #expect(table.find(other)?.digest == model[other]?.digest)
      }
      #expect(table.count == model.count)
      #expect(table.digest == model.values.reduce(into: .empty) { $0 ^= $1.digest })
      for (id, expected) in model {
        let found = try #require(table.find(id))
        #expect(
          found.state == expected.state && found.account.value == expected.account && found.digest == expected.digest)
      }
    }
  }

  @Test func `what is taken out is gone, and everything else is found`() throws {
    var random = Jitter(state: try TestSeed.announced(for: "BucketTableRemoval"))
    for crowd in [4, 40, 400] {
      var table = BucketTable()
      var model: [KeyID: (state: KeyState, digest: Digest)] = [:]
      for _ in 0..<2000 {
        let id = TestKeys.crowded(Int.random(in: 0..<crowd, using: &random))
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
        let other = TestKeys.crowded(Int.random(in: 0..<crowd, using: &random))
        #expect(table.find(other)?.digest == model[other]?.digest)
      }
      for number in 0..<crowd {
        let id = TestKeys.crowded(number)
        #expect(table.find(id)?.digest == model[id]?.digest && table.find(id)?.state == model[id]?.state)
      }
      for id in model.keys { table.remove(id) }
      #expect(table.count == 0 && table.digest == .empty && table.activeCount == 0)
    }
  }
}

enum TestKeys {
  /// Ids that share what the index sorts by, so that they collide: every 16 of them have the same second word but for its high bits.
  static func crowded(_ number: Int) -> KeyID {
    var bytes = [UInt8](repeating: 0, count: 32)
    bytes[7] = UInt8(number & 0xff)
    bytes[6] = UInt8(number >> 8)
    bytes[8] = UInt8(number & 0xf)
    bytes[15] = UInt8(number >> 4 & 0x3)
    return KeyID(bytes: bytes)!  // 32 bytes, as always.
  }
}
