import NIOCore
import Testing

@testable import IngestQueue

struct AccountQuotaTests {
  private func letters(_ bytes: [String: Int64]) -> AccountBytes {
    AccountBytes(
      all: bytes.values.reduce(0, +),
      accounts: bytes.sorted { $0.value > $1.value }.map { AccountBytes.Account(name: $0.key, bytes: $0.value) })
  }

  @Test func `an account is told beyond a sixteenth of what is left, and until it has three quarters of that`() {
    var quota = AccountQuota.deadLetters
    for (bytes, isTold) in [
      (0, false), (100, false), (101, true), (100, true), (76, true), (75, false), (100, false), (101, true),
      (0, false),
    ] as [(Int64, Bool)] {
      quota.read(letters(["a": bytes, "b": 3]), left: 1_600)
      #expect(quota.told == (isTold ? ["a": bytes] : [:]), "at \(bytes)")
      #expect(quota.hashes == (isTold ? [AccountShuffleShard.hash(of: "a")] : []))
    }
  }

  @Test func `who has no dead letters is never told, however many others have`() {
    var quota = AccountQuota.deadLetters
    quota.read(letters(["a": 1 << 40]), left: -1)
    #expect(quota.told == ["a": 1 << 40] && quota.limit == 0)
  }

  @Test(arguments: [1, 16, 100, 1_000])
  func `as long as there is room, however many accounts do their worst`(accounts: Int64) {
    let room: Int64 = 1 << 30
    var bytes: [String: Int64] = [:]
    var quota = AccountQuota.deadLetters
    // Each adds a letter as long as it isn't told.
    var isAdded = true
    while isAdded {
      isAdded = false
      for account in 0..<accounts {
        let name = "account-\(account)"
        guard quota.told[name] == nil else { continue }
        bytes[name, default: 0] += 16 << 10
        isAdded = true
      }
      let letters = letters(bytes)
      quota.read(letters, left: room - letters.all)
    }
    let left = room - bytes.values.reduce(0, +)
    // One more letter of each, beside what is allowed.
    #expect(left >= room * 16 / (16 + accounts) - accounts * (32 << 10), "\(left) of \(room)")
    #expect(left > 0)
  }

  // MARK: What is left

  private func gate(bytes: Int64, memory: Int64, limit: Int64, dead: Int64) -> Admission {
    var gate = Admission(limits: QueueLimits(entries: 1_000, bytes: 10_000, memoryPercent: 80))
    gate.read(
      QueueReading(
        lengths: [10], bytes: bytes, memory: memory, memoryLimit: limit, deadBytes: letters(["a": dead])),
      at: .uptimeNanoseconds(1))
    return gate
  }

  @Test func `dead letters are in Redis's memory, and count as bytes where that has no limit`() {
    // 8,000 of 10,000 may be used: 6,000 are, of which 1,000 are the queue's.
    let limited = gate(bytes: 1_000, memory: 6_000, limit: 10_000, dead: 2_000)
    #expect(limited.deadLetters.room == 5_000 && limited.deadLetters.limit == 3_000 / 16)
    let unlimited = gate(bytes: 1_000, memory: 6_000, limit: 0, dead: 2_000)
    #expect(unlimited.deadLetters.room == 10_000 && unlimited.deadLetters.limit == 8_000 / 16)
  }

  @Test func `who filled four fifths with dead letters leaves the rest to others, their reserve included`() {
    let gate = gate(bytes: 0, memory: 6_800, limit: 10_000, dead: 6_400)
    #expect(gate.shutFor == nil && gate.deadLetters.told == ["a": 6_400])
    // A fifth of what is left, and not of what there was. A tenth of Redis's memory is for dead letters alone.
    #expect(gate.room?.memory == 2_200 && gate.reserve?.memory == 440)
  }

  @Test func `dead letters alone don't shut the gate until they have used their tenth of Redis's memory as well`() {
    #expect(gate(bytes: 0, memory: 8_900, limit: 10_000, dead: 8_000).shutFor == nil)
    #expect(gate(bytes: 0, memory: 9_000, limit: 10_000, dead: 8_000).shutFor == .memory)
    // The part that they don't use isn't available to other data.
    #expect(gate(bytes: 0, memory: 8_400, limit: 10_000, dead: 500).shutFor == nil)
    #expect(gate(bytes: 0, memory: 8_500, limit: 10_000, dead: 500).shutFor == .memory)
  }

  @Test(arguments: [(80, 900), (88, 950), (95, 950), (99, 990)])
  func `a twentieth of Redis's memory is kept free of dead letters, unless the mark itself is higher`(
    percent: Int, mark: Int64
  ) {
    for (memory, isShut) in [(mark - 1, false), (mark, true)] {
      var gate = Admission(limits: QueueLimits(memoryPercent: percent))
      gate.read(
        QueueReading(lengths: [0], memory: memory, memoryLimit: 1_000, deadBytes: letters(["a": 800])),
        at: .uptimeNanoseconds(1))
      #expect((gate.shutFor != nil) == isShut, "at \(memory)")
    }
  }

  // MARK: Retries

  @Test func `an account may use a third of the room for retries, and others the rest`() {
    var quota = AccountQuota.retries
    for (bytes, isTold) in [(1_000, false), (1_001, true), (900, true), (750, false)] as [(Int64, Bool)] {
      quota.read(letters(["flood": bytes, "b": 3]), left: 3_000 - 1_000)
      #expect(quota.told == (isTold ? ["flood": bytes] : [:]), "at \(bytes)")
    }
  }

  @Test func `where one account's payloads wait for a retry, nobody else is taken for it`() {
    var gate = Admission(limits: QueueLimits(entries: 1_000, bytes: 10_000))
    var reading = QueueReading(lengths: [Int64](repeating: 0, count: QueueLayout.lists), later: 90, bytes: 9_000)
    reading.retries = letters(["flood": 9_000])
    gate.read(reading, at: .uptimeNanoseconds(1))
    #expect(gate.shutFor == nil && Array(gate.retries.told.keys) == ["flood"])
    for account in ["a", "flood"] {
      #expect(!reading.bytesByList.mayHoldMuch(AccountShuffleShard(account: account)))
    }
  }
}
