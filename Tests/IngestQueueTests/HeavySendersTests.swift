import Testing

@testable import IngestQueue

struct HeavySendersTests {
  private func hash(_ account: String) -> UInt64 { AccountShuffleShard.hash(of: account) }

  @Test func `of few pushes nothing is concluded`() {
    var senders = HeavySenders()
    let noted = (0..<256).map { _ in senders.note(hash("acme"), bytes: 1).manyPayloads }
    #expect(noted == Array(repeating: false, count: 255) + [true])
  }

  @Test func `a flood is told from a hundred others, and nearly all of them from it`() {
    var senders = HeavySenders()
    var mistaken: Set<String> = []
    for turn in 0..<20_000 {
      let isFlood = turn % 4 != 0
      let account = isFlood ? "flood" : "account-\(turn / 4 % 100)"
      if senders.note(hash(account), bytes: 1).manyPayloads != isFlood, turn >= 1_000 { mistaken.insert(account) }
    }
    #expect(!mistaken.contains("flood"))
    // An account that shares the flood's counter counts as heavy too.
    #expect(mistaken.count <= 1, "\(mistaken)")
  }

  @Test func `where all send alike nobody sends much`() {
    var senders = HeavySenders()
    let noted = (0..<20_000).map { senders.note(hash("account-\($0 % 100)"), bytes: 1).manyPayloads }
    #expect(!noted.contains(true))
  }

  @Test func `a flood that has ended is forgotten`() {
    var senders = HeavySenders()
    for _ in 0..<100_000 { _ = senders.note(hash("flood"), bytes: 1) }
    for turn in 0..<20_000 { _ = senders.note(hash("account-\(turn % 100)"), bytes: 1) }
    let isMuch = senders.note(hash("flood"), bytes: 1).manyPayloads
    #expect(!isMuch)
  }

  @Test func `a few large payloads are much, beside many small ones`() {
    var senders = HeavySenders()
    var isMuch: [String: Bool] = [:]
    for turn in 0..<2_000 {
      isMuch["small"] = senders.note(hash("small"), bytes: 1_000).manyBytes
      if turn % 100 == 0 { isMuch["large"] = senders.note(hash("large"), bytes: 16 << 20).manyBytes }
    }
    #expect(isMuch == ["small": false, "large": true])
  }
}
