// Payloads that a worker had when it died wait in one list. Suspects of an account that take long must not delay those
// of other accounts.

import Hiredis
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

@Suite(.timeLimit(.minutes(1))) struct SuspectTurnsTests {
  // MARK: The turns

  @Test func `an account whose suspects took a second or more is passed over until others had as much`() {
    var turns = SuspectTurns()
    turns.note(["quick"], took: .milliseconds(5))
    #expect(turns == SuspectTurns.noted(["quick": .milliseconds(5)]))
    #expect(turns.passedOver.isEmpty && turns.apart.isEmpty)
    turns.note(["slow"], took: .seconds(10))
    turns.note(["slower"], took: .seconds(12))
    #expect(turns.passedOver == ["slow", "slower"])
    #expect(turns.apart == ["slow", "slower"])
    turns.lowerCharges()
    #expect(turns.passedOver == ["slower"], "2 s are left of its 12")
    #expect(turns.apart == ["slow", "slower"], "what was slow stays apart")
    turns.lowerCharges()
    #expect(turns.passedOver.isEmpty)
    #expect(turns.passing(over: ["other"]).passedOver == ["other"])
  }

  @Test func `a slow claim of several accounts is charged to none of them, and keeps them apart`() {
    var turns = SuspectTurns()
    turns.note(["a", "b"], took: .seconds(10))
    #expect(turns.passedOver.isEmpty)
    #expect(turns.apart == ["a", "b"])
    for _ in 0..<3 { turns.note(["c", "d"], took: .milliseconds(800)) }
    #expect(turns.passedOver == ["c", "d"], "each is charged half of 2.4 s")
    #expect(turns.apart == ["a", "b"])
    turns.note([], took: .seconds(10))
    #expect(turns.apart == ["a", "b"])
  }

  @Test func `turns remember a limited number of accounts`() {
    var turns = SuspectTurns()
    for number in 0..<10 * SuspectTurns.maxAccounts { turns.note(["account-\(number)"], took: .seconds(2)) }
    #expect(turns.passedOver.count <= SuspectTurns.maxAccounts)
    #expect(turns.apart.count <= SuspectTurns.maxAccounts)
  }

  /// A list of suspects, and a lane that tries them as the claim script hands them out.
  private struct Lane {
    struct Suspect {
      let account: String
      let cost: Duration
    }

    var list: [Suspect]
    /// Maximum suspects of one claim.
    let most: Int
    var turns = SuspectTurns()
    var time = Duration.zero
    var longest = Duration.zero
    /// The time at which an account's last suspect was done, and the time that the account was charged for.
    var done: [String: Duration] = [:]
    var costs: [String: Duration] = [:]

    mutating func run() {
      while !list.isEmpty {
        let (passed, apart) = (turns.passedOver, turns.apart)
        var claim: [Suspect] = []
        var left: [Suspect] = []
        var isFull = false
        for suspect in list {
          let account = suspect.account
          if isFull || passed.contains(account) {
            left.append(suspect)
            continue
          }
          let goesWith = claim.allSatisfy { $0.account == account || !apart.contains($0.account) }
          if let first = claim.first, first.account != account, !goesWith || apart.contains(account) {
            isFull = true
            left.append(suspect)
            continue
          }
          claim.append(suspect)
          isFull = claim.count == most
        }
        guard !claim.isEmpty else {
          turns.lowerCharges()
          continue
        }
        list = left
        // Suspects of one claim are tried at the same time.
        let took = claim.map(\.cost).max() ?? .zero
        let accounts = Set(claim.map(\.account))
        time += took
        longest = max(longest, took)
        if accounts.count == 1 || took < SuspectTurns.share {
          for account in accounts { costs[account, default: .zero] += took / accounts.count }
        }
        turns.note(accounts, took: took)
        for account in accounts { done[account] = time }
      }
    }
  }

  @Test func `suspects wait for a small multiple of the time that their own account's take`() {
    var generator = SeededGenerator.announced()
    for round in 0..<100 {
      let count = Int.random(in: 2...8, using: &generator)
      var list: [Lane.Suspect] = []
      for account in 0..<count {
        let isSlow = Bool.random(using: &generator)
        for _ in 0..<Int.random(in: 1...150, using: &generator) {
          // A slow account may have quick ones too.
          let cost: Duration =
            isSlow && Int.random(in: 0..<10, using: &generator) > 0
            ? .milliseconds(Int.random(in: 1_000...10_000, using: &generator))
            : .milliseconds(Int.random(in: 1...20, using: &generator))
          list.append(.init(account: "account-\(account)", cost: cost))
        }
      }
      if round.isMultiple(of: 2) { list.shuffle(using: &generator) }
      var lane = Lane(list: list, most: round % 3 == 0 ? 1 : 22)
      lane.run()
      for (account, done) in lane.done {
        let cost = lane.costs[account] ?? .zero
        let most = cost * count + (lane.longest * 2 + SuspectTurns.share) * count
        #expect(done <= most, "\(account) of \(count) took \(cost) and was done after \(done) in round \(round)")
      }
    }
  }

  @Test func `a hundred quick suspects don't wait for two thousand that time out`() {
    let slow = (0..<2_000).map { _ in Lane.Suspect(account: "slow", cost: .seconds(10)) }
    let quick = (0..<100).map { _ in Lane.Suspect(account: "quick", cost: .milliseconds(5)) }
    var lane = Lane(list: slow + quick, most: 1)
    lane.run()
    #expect((lane.done["quick"] ?? .seconds(1 << 20)) <= .seconds(11))
    #expect(lane.done["slow"] == .seconds(20_000) + .milliseconds(500))
  }

  // MARK: The list

  private static func put(_ numbers: Range<Int>, of account: String, into queue: QueueUnderTest) async throws {
    var elements: [[UInt8]] = []
    for number in numbers {
      var header = EnvelopeHeader.numbered(number)
      header.account = account
      elements.append(header.encoded + Array("payload".utf8))
    }
    _ = try await queue.client.execute(
      RedisCommand(
        "LPUSH", arguments: [queue.layout.pending(QueueLayout.suspects)] + elements as [any RedisArgument])
    ).orThrow()
  }

  @Test func `suspects of accounts that are passed over go behind all others, a limited number at a time`() async throws
  {
    try await QueueUnderTest.with { queue in
      try await Self.put(0..<700, of: "slow", into: queue)
      try await Self.put(1_000..<1_003, of: "quick", into: queue)
      let worker = try queue.worker()
      let turns = SuspectTurns().passing(over: ["slow"])
      guard case .passedOver(500, waiting: 703) = try await worker.claim(slot: 0, takesSuspects: true, turns: turns)
      else {
        Issue.record("expected the first 500 to be passed over")
        return
      }
      guard case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true, turns: turns) else {
        Issue.record("expected the other account's suspects")
        return
      }
      #expect(try batch.numbers == [1_000, 1_001, 1_002])
      #expect(batch.areSuspects)
      _ = try await worker.acknowledge(batch)
      // Nobody else's are left.
      var passed = 0
      while passed < 700 {
        guard
          case .passedOver(let count, waiting: 700) =
            try await worker.claim(slot: 0, takesSuspects: true, turns: turns)
        else {
          Issue.record("expected only suspects that are passed over")
          return
        }
        passed += count
      }
      let left = try await queue.pending(QueueLayout.suspects).sorted()
      #expect(left == Array(0..<700), "none is lost, and none is there twice")
      #expect(try await worker.batch().entries.count == worker.limits.suspects, "no longer passed over")
      let kept = try await queue.send("HGET", queue.layout.bytes, "\(QueueLayout.suspects)").string()
      #expect(Int64(kept) ?? 0 > 0)
    }
  }

  @Test func `suspects of an account that is apart share no claim with others`() async throws {
    try await QueueUnderTest.with { queue in
      try await Self.put(0..<1, of: "a", into: queue)
      try await Self.put(1..<3, of: "slow", into: queue)
      try await Self.put(3..<4, of: "b", into: queue)
      try await Self.put(4..<5, of: "c", into: queue)
      let worker = try queue.worker()
      var turns = SuspectTurns()
      turns.note(["slow", "else"], took: .seconds(5))
      for expected in [[0], [1, 2], [3, 4]] {
        guard case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true, turns: turns) else {
          Issue.record("expected \(expected)")
          return
        }
        #expect(try batch.numbers == expected)
        _ = try await worker.acknowledge(batch)
      }
    }
  }

  @Test func `a suspect that failed comes again behind those that weren't tried yet`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push(0..<4)
      let worker = try queue.worker {
        $0.lease = .milliseconds(10)
        $0.envelopes = 4
      }
      _ = try await worker.batch()
      _ = try await worker.reapSomething()
      let calm = try queue.worker("calm") { $0.envelopes = 4 }
      let batch = try await calm.batch()
      #expect(try batch.numbers == [0, 1])
      _ = try await calm.settle(batch, [.retry(reason: "a test", delay: .zero), .done])
      let next = try await calm.batch()
      #expect(try next.numbers.first == 2)
      _ = try await calm.acknowledge(next)
      var left: [Int] = []
      try await eventually("the failed one comes") {
        if case .batch(let batch) = try await calm.claim(slot: 0, takesSuspects: true) {
          left += try batch.numbers
          _ = try await calm.acknowledge(batch)
        }
        return left.contains(0)
      }
      #expect(left.last == 0)
    }
  }
}

extension SuspectTurns {
  fileprivate static func noted(_ times: [String: Duration]) -> SuspectTurns {
    var turns = SuspectTurns()
    for (account, time) in times { turns.note([account], took: time) }
    return turns
  }
}
