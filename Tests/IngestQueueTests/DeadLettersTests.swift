import Hiredis
import IngestQueue
import NIOCore
import QueueFixture
import RedisClient
import RedisFixture
import Testing

struct DeadLettersTests {
  @Test func `ten thousand are listed newest first, each with all that is known of it`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<10_000) { "reason \($0 % 3)" }
      let found = try await queue.found()
      #expect(found.count == 10_000)
      // Within one batch the last is buried first.
      let batches = stride(from: 9_900, through: 0, by: -100).flatMap { $0..<$0 + 100 }
      #expect(found.map(\.id) == batches.map { "\(EnvelopeHeader.numbered($0).id)" })
      #expect(zip(found, found.dropFirst()).allSatisfy { $0.entry > $1.entry })
      let letter = try #require(found.last).get()
      #expect(letter.reason == "reason 0")
      #expect(letter.attempts == 1 && letter.deaths == 0)
      #expect(letter.account == "acme")
      #expect(letter.worker == "burier")
      #expect(letter.firstAt <= letter.diedAt)
      let element = try #require(try await queue.letters.part(of: letter.entry, from: 0))
      #expect(try Envelope(element).header == .numbered(99))
      #expect(element.count == letter.bytes)
    }
  }

  @Test func `those of a reason go back oldest first behind what waits, and the others stay`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<2_500, inOnes: true) { $0 % 5 == 0 ? "disk full at \($0)" : "bad JSON" }
      try await queue.push([9_999])
      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(reason: "disk full"), tally: &tally)
      #expect(tally.done.total == 500)
      #expect(tally.done.counts.count == ReasonCounts.most)
      #expect(tally.done.others == 500 - ReasonCounts.most)
      #expect(try await queue.waiting() == [9_999] + stride(from: 0, to: 2_500, by: 5))
      #expect(Set(try await queue.found().map(\.reason)) == ["bad JSON"])
      #expect(try await queue.state().dead == 2_000)
      #expect(try await queue.stat("requeued") == 500)
    }
  }

  @Test func `many of one account go to that account's lists, so that they are in nobody else's way`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<3_000) { _ in "no" }
      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(), tally: &tally)
      let lists = try await queue.state().lists
      #expect(lists[0] == 1_000)
      // The account's two others have as much of the rest each.
      #expect(lists.dropFirst().filter { $0 > 0 } == [1_000, 1_000])
      // Those that nodes would choose.
      try await queue.push([5_000])
      let after = try await queue.state().lists
      #expect(zip(lists, after).map { $1 - $0 }.reduce(0, +) == 1)
      #expect(zip(lists, after).allSatisfy { before, after in before > 0 || after == 0 })
    }
  }

  @Test func `what was put back starts as if it had never failed`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.push([1])
      let worker = try queue.worker { $0.attempts = 2 }
      for _ in 0..<2 {
        var batch: ClaimedBatch?
        try await eventually("it is due") {
          if case .batch(let claimed) = try await worker.claim(slot: 0, takesSuspects: true) { batch = claimed }
          return batch != nil
        }
        _ = try await worker.settle(try #require(batch), [.retry(reason: "no", delay: .zero)])
      }
      #expect(try await queue.found().map { try $0.get().attempts } == [2])
      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(), tally: &tally)
      let batch = try await worker.batch()
      #expect(batch.entries.map(\.failures) == [0])
      _ = try await worker.settle(batch, [.retry(reason: "no", delay: .zero)])
      #expect(try await queue.state().later == 1)
    }
  }

  @Test func `they are chosen by id, account and worker, and never more than the limit`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<100, inOnes: true) { "reason \($0)" }
      try await queue.bury(100..<200, by: "other", inOnes: true) { "reason \($0)" }
      func count(_ filter: DeadLetterFilter) async throws -> Int {
        var tally = DeadLetterTally()
        try await queue.letters.count(filter, tally: &tally)
        return tally.done.total
      }
      #expect(try await count(DeadLetterFilter(worker: "other")) == 100)
      #expect(try await count(DeadLetterFilter(reason: "reason 10", worker: "other")) == 10)
      #expect(try await count(DeadLetterFilter(account: "acme")) == 200)
      #expect(try await count(DeadLetterFilter(account: "nobody")) == 0)
      let ids = [7, 8, 150].map { "\(EnvelopeHeader.numbered($0).id)" }
      var tally = DeadLetterTally()
      try await queue.letters.discard(DeadLetterFilter(ids: Set(ids + ["unknown"])), limit: 2, tally: &tally)
      #expect(tally.done.counts == ["reason 7": 1, "reason 8": 1])
      try await queue.letters.discard(DeadLetterFilter(ids: Set(ids + ["unknown"])), tally: &tally)
      #expect(tally.done.counts == ["reason 7": 1, "reason 8": 1, "reason 150": 1])
      #expect(tally.metIDs == Set(ids))
      #expect(try await queue.state().dead == 197)
      #expect(try await queue.stat("discarded") == 3)
    }
  }

  @Test func `what another hand put there is said to be unreadable, stays when all are put back, and goes by its hash`()
    async throws
  {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<3) { _ in "no" }
      _ = try await queue.send("XADD", queue.layout.dead, "*", "by", "hand")
      _ = try await queue.send(
        "XADD", queue.layout.dead, "*", "id", "x", "reason", "r", "attempts", "many", "deaths", "0", "first_at", "1",
        "died_at", "1", "worker", "w", "envelope", "saved")
      try await queue.bury(3..<6) { _ in "no" }
      let broken = try await queue.found().compactMap { found -> UnreadableLetter? in
        if case .failure(let letter) = found { letter } else { nil }
      }
      #expect(broken.map(\.flaw) == ["the field attempts isn't a number", "the field id isn't there"])
      #expect(broken.first?.id == "c75c31dffb082ca7bb0e1f2fc12f0461cbd1fc9c")
      #expect(try await queue.letters.part(of: try #require(broken.first).entry, from: 1, most: 3) == Array("ave".utf8))
      #expect(try await queue.letters.part(of: try #require(broken.last).entry, from: 0) == Array("by\nhand".utf8))

      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(), tally: &tally)
      #expect(tally.done.total == 6 && tally.unreadable == 2)
      #expect(try await queue.state().dead == 2)
      tally = DeadLetterTally()
      try await queue.letters.discard(DeadLetterFilter(ids: Set(broken.map(\.id))), tally: &tally)
      #expect(tally.done.total == 2)
      #expect(try await queue.state().dead == 0)
    }
  }

  @Test func `an element that is no envelope is a dead letter by its hash, with all its bytes`() async throws {
    try await QueueUnderTest.with { queue in
      let rubbish = [UInt8](0...255) + Array("rubbish".utf8)
      _ = try await queue.send("LPUSH", queue.layout.pending(0), rubbish)
      let worker = try queue.worker()
      _ = try await worker.settle(try await worker.batch(), [.dead(reason: "no envelope")])
      let letter = try #require(try await queue.found().first).get()
      #expect(letter.id.count == 40 && letter.account == nil)
      #expect(try await queue.letters.part(of: letter.entry, from: 0) == rubbish)
    }
  }

  @Test func `large ones are gone through in many small steps`() async throws {
    try await QueueUnderTest.with { queue in
      let payload = ByteBuffer(repeating: UInt8(ascii: "x"), count: 1 << 20)
      try await queue.bury(0..<24, payload: payload) { _ in "too hard" }
      let before = try await queue.scripts()
      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(), tally: &tally)
      #expect(tally.done.total == 24)
      // 24 MiB, at most 4 MiB and one letter looked at in one step and as much moved in another.
      #expect(try await queue.scripts() - before >= 2 * 24 / 5)
      #expect(try await queue.waiting().count == 24)
    }
  }

  @Test func `at Redis's memory limit they can be put back and thrown away`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<1_000) { "reason \($0 % 2)" }
      _ = try await queue.send("CONFIG", "SET", "maxmemory", "1mb")
      await #expect(throws: RedisServerError.self) { _ = try await queue.send("SET", "x", "y") }
      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(reason: "reason 0"), tally: &tally)
      try await queue.letters.discard(DeadLetterFilter(reason: "reason 1"), tally: &tally)
      #expect(tally.done.counts == ["reason 0": 500, "reason 1": 500])
      #expect(try await queue.waiting().count == 500)
      #expect(try await queue.state().dead == 0)
    }
  }

  @Test func `what fails again while they are put back isn't put back again`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<2_000) { _ in "before" }
      let burier = Task { try await queue.buryUntilCancelled("again") }
      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(), tally: &tally)
      #expect(tally.done.counts == ["before": 2_000])
      try await eventually("all have failed again") { try await queue.state().dead == 2_000 }
      burier.cancel()
      try await burier.value
      #expect(Set(try await queue.found().map(\.reason)) == ["again"])
    }
  }

  @Test func `with workers that add more and operators in each other's way, each is in one place and counted once`()
    async throws
  {
    var generator = SeededGenerator.announced()
    let numbers = Array(0..<4_000).shuffled(using: &generator)
    try await QueueUnderTest.with { queue in
      try await queue.bury(numbers.prefix(2_000)) { "reason \($0 % 4)" }
      let (tallies, added) = try await withThrowingTaskGroup(of: DeadLetterTally?.self) { group in
        group.addTask {
          for start in stride(from: 2_000, to: 4_000, by: 100) {
            try await queue.bury(numbers[start..<start + 100]) { "added \($0 % 4)" }
          }
          return nil
        }
        for operation in 0..<4 {
          group.addTask {
            var tally = DeadLetterTally()
            let filter = DeadLetterFilter(reason: operation < 2 ? "reason" : "reason 3")
            try await queue.letters.discard(filter, tally: &tally)
            return tally
          }
        }
        var tallies: [DeadLetterTally] = []
        var added = 0
        for try await tally in group {
          if let tally { tallies.append(tally) } else { added += 1 }
        }
        return (tallies, added)
      }
      #expect(added == 1)
      // Each was thrown away by one of them.
      #expect(tallies.reduce(0) { $0 + $1.done.total } == 2_000)
      #expect(try await queue.stat("discarded") == 2_000)
      let left = try await queue.found()
      #expect(Set(left.map(\.id)) == Set(numbers[2_000...].map { "\(EnvelopeHeader.numbered($0).id)" }))
      #expect(left.count == 2_000)
    }
  }

  @Test func `keys of a wrong type are an error, and nothing is moved`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<3) { _ in "no" }
      _ = try await queue.send("SET", queue.layout.stats, "a string")
      var tally = DeadLetterTally()
      await #expect(throws: QueueFailure.self) {
        try await queue.letters.requeue(DeadLetterFilter(), tally: &tally)
      }
      await #expect(throws: QueueFailure.self) {
        try await queue.letters.discard(DeadLetterFilter(), tally: &tally)
      }
      #expect(tally == DeadLetterTally())
      await #expect(throws: QueueFailure.self) { _ = try await queue.state() }
      _ = try await queue.send("DEL", queue.layout.stats)
      #expect(try await queue.state().dead == 3)
      #expect(try await queue.waiting().isEmpty)
      _ = try await queue.send("DEL", queue.layout.dead)
      _ = try await queue.send("SET", queue.layout.dead, "a string")
      await #expect(throws: QueueFailure.self) { _ = try await queue.found() }
    }
  }

  @Test func `how many bytes each account has is kept with every step, and gone with the last`() async throws {
    try await QueueUnderTest.with { queue in
      func isKept() async throws -> [String: Int64] {
        let kept = try await queue.keptDeadBytes()
        #expect(try await queue.recountedDeadBytes() == kept)
        return kept
      }
      let small = ByteBuffer(string: "small")
      let large = ByteBuffer(repeating: UInt8(ascii: "x"), count: 200_000)
      try await queue.bury(0..<30, of: "small", payload: small, reason: { "no \($0)" })
      try await queue.bury(30..<40, of: "large", payload: large, reason: { "no \($0)" })
      // No envelope, and one that is larger than a worker takes, by the claim itself.
      _ = try await queue.send("LPUSH", queue.layout.pending(0), "rubbish")
      let worker = try queue.worker()
      _ = try await worker.settle(try await worker.batch(), [.dead(reason: "no envelope")])
      try await queue.push([50], payload: large)
      let sparing = try queue.worker("sparing") { $0.largestEnvelope = 100_000 }
      #expect(try await sparing.claimsNothing())
      let before = try await isKept()
      #expect(Set(before.keys) == ["small", "large", "acme", ""])
      #expect(try #require(before["large"]) > 2_000_000)

      var tally = DeadLetterTally()
      try await queue.letters.requeue(DeadLetterFilter(account: "large"), limit: 4, tally: &tally)
      let between = try await isKept()
      #expect(try #require(between["large"]) < 1_300_000 && between["small"] == before["small"])
      try await queue.letters.discard(DeadLetterFilter(account: "large"), tally: &tally)
      try await queue.letters.discard(DeadLetterFilter(account: "small"), limit: 10, tally: &tally)
      #expect(tally.done.total == 4 + 6 + 10)
      #expect(try await isKept()["large"] == nil)
      try await queue.letters.discard(DeadLetterFilter(), tally: &tally)
      #expect(try await isKept() == [:])
      #expect(try await queue.keys().isDisjoint(with: [queue.layout.dead, queue.layout.deadBytes]))
    }
  }

  @Test func `a stream that was deleted by hand has no bytes, and the next letter begins anew`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<10, of: "gone", reason: { _ in "no" })
      _ = try await queue.send("DEL", queue.layout.dead)
      #expect(try await queue.keptDeadBytes() == [:])
      try await queue.bury(10..<11, of: "new", reason: { _ in "no" })
      let kept = try await queue.keptDeadBytes()
      #expect(Array(kept.keys) == ["new"])
      #expect(try await queue.recountedDeadBytes() == kept)
    }
  }

  @Test func `what was put there by hand takes nothing off anybody's bytes when it is thrown away`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<1, reason: { _ in "no" })
      let before = try await queue.keptDeadBytes()
      _ = try await queue.send("XADD", queue.layout.dead, "*", "account", "acme", "by", "hand")
      var tally = DeadLetterTally()
      let found = try await queue.found()
      try await queue.letters.discard(DeadLetterFilter(ids: [try #require(found.first).id]), tally: &tally)
      #expect(tally.done.total == 1)
      #expect(try await queue.keptDeadBytes() == before)
    }
  }

  @Test func `large ones are thrown away in steps as well`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<24, payload: ByteBuffer(repeating: UInt8(ascii: "x"), count: 1 << 20)) { _ in "no" }
      let before = try await queue.scripts()
      var tally = DeadLetterTally()
      try await queue.letters.discard(DeadLetterFilter(), tally: &tally)
      #expect(tally.done.total == 24)
      #expect(try await queue.scripts() - before >= 2 * 24 / 5)
    }
  }

  @Test func `a shard's survey says what is in each list, what comes due and what has left`() async throws {
    try await QueueUnderTest.with { queue in
      try await queue.bury(0..<4) { "reason \($0 % 2)" }
      var tally = DeadLetterTally()
      try await queue.letters.discard(DeadLetterFilter(), limit: 1, tally: &tally)
      _ = try await queue.send("LPUSH", queue.layout.pending(5), EnvelopeHeader.numbered(40).encoded, "rubbish")
      _ = try await queue.send("LPUSH", queue.layout.pending(0), EnvelopeHeader.numbered(30).encoded)
      _ = try await queue.send("ZADD", queue.layout.later, 1_790_000_000_123, "x", 1_790_000_000_500, "y")
      let survey = try await QueueSurvey.read(from: queue.client, layout: queue.layout)
      #expect(survey.state.pending == 3)
      #expect(survey.lists.map(\.number) == Array(0..<QueueLayout.lists))
      #expect(survey.lists[5].envelopes == 2)
      #expect(survey.lists[5].oldestReceivedAt == EnvelopeHeader.numbered(40).receivedAt)
      #expect(survey.oldestReceivedAt == EnvelopeHeader.numbered(30).receivedAt)
      #expect(survey.nextDueAt == 1_790_000_000_123)
      #expect(survey.discarded == 1 && survey.requeued == 0)
      #expect(survey.reasons.total == 3)
      #expect(survey.state.dead == 3)
    }
  }
}

extension QueueUnderTest {
  fileprivate var letters: DeadLetters { DeadLetters(client: client, layout: layout) }

  /// How many scripts have run.
  fileprivate func scripts() async throws -> Int {
    let stats = try await send("INFO", "commandstats").string()
    let calls = stats.matches(of: /cmdstat_evalsha(?:_ro)?:calls=(\d+),/).map { $0.1 }
    try #require(!calls.isEmpty)
    return calls.reduce(0) { $0 + (Int($1) ?? 0) }
  }

  /// Pushes envelopes and lets a worker give them up.
  /// - Parameter inOnes: Whether each is claimed by itself, so that they die in their order.
  fileprivate func bury(
    _ numbers: some Sequence<Int>, of account: String = EnvelopeHeader.plain.account, by name: String = "burier",
    inOnes: Bool = false,
    payload: ByteBuffer = ByteBuffer(string: "payload"), reason: (Int) -> String
  ) async throws {
    let numbers = Array(numbers)
    // Push in portions that a loaded machine accepts within the producer's deadline.
    for start in stride(from: 0, to: numbers.count, by: 500) {
      try await push(numbers[start..<min(start + 500, numbers.count)], of: account, payload: payload)
    }
    let worker = try worker(name) { $0.envelopes = inOnes ? 1 : 100 }
    var left = numbers.count
    while left > 0 {
      let batch = try await worker.batch()
      _ = try await worker.settle(batch, try batch.numbers.map { .dead(reason: reason($0)) })
      left -= batch.entries.count
    }
  }

  /// Gives up whatever comes, as a worker whose sink takes nothing.
  fileprivate func buryUntilCancelled(_ reason: String) async throws {
    let worker = try worker("second")
    while !Task.isCancelled {
      guard case .batch(let batch) = try await worker.claim(slot: 1, takesSuspects: true) else { continue }
      _ = try await worker.settle(batch, batch.entries.map { _ in .dead(reason: reason) })
    }
  }

  /// All dead letters, the newest first.
  fileprivate func found() async throws -> [FoundLetter] {
    var walk = letters.walk(.newest)
    var all: [FoundLetter] = []
    while let found = try await walk.next() { all.append(found) }
    return all
  }

  /// Which envelopes wait in any list, list by list, the next one first.
  fileprivate func waiting() async throws -> [Int] {
    var numbers: [Int] = []
    for list in layout.pending {
      numbers += try await send("LRANGE", list, 0, -1).array().reversed().map {
        try Envelope($0.bytes()).header.number
      }
    }
    return numbers
  }

  fileprivate func stat(_ field: String) async throws -> Int? {
    try await send("HGET", layout.stats, field).stringOrNull().flatMap { Int($0) }
  }
}
