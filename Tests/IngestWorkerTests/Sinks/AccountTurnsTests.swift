// The receiver is slow with one account's payloads, or rejects them. Payloads of other accounts behind them must not
// wait until that account's are done.

import Fleet
import Foundation
import IngestQueue
import NIOCore
import NIOHTTP1
import QueueFixture
import RedisFixture
import Synchronization
import Testing

@testable import IngestWorker

struct AccountTurnsTests {
  private func headers(_ numbers: Range<Int>, account: String) -> [EnvelopeHeader] {
    numbers.map { number in
      var header = EnvelopeHeader.numbered(number)
      header.account = account
      return header
    }
  }

  private static func isSlowAccounts(_ request: ReceivedRequest) -> Bool {
    request.headers.first(name: "sluice-account") == "slow"
  }

  @Test func `an account whose payloads the receiver is slow with holds up nobody else's`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start()
      receiver.delay { Self.isSlowAccounts($0) ? .milliseconds(900) : nil }
      // More than both lanes claim at once, and then those of 50 others.
      try await bench.push(headers(0..<1_200, account: "slow"), payload: ByteBuffer(string: "slow"))
      for other in 0..<50 {
        try await bench.push(
          headers((2_000 + other)..<(2_001 + other), account: "other-\(other)"), payload: ByteBuffer(string: "quick"))
      }
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in").open(logger: .silent)
      try await bench.running(try bench.worker(sink: sink)) {
        try await eventually(within: .seconds(60), "the others' are stored") {
          receiver.stored.count { $0.account != "slow" } == 50
        }
        // In turn with the slow ones they would come after 1,200 of these; 16 of these are sent at a time.
        let slow = receiver.requests.count { Self.isSlowAccounts($0) }
        #expect(slow < 200, "\(slow) of the slow account's were sent before")
        receiver.delay { _ in nil }
        try await eventually(within: .seconds(60), "all are stored") { receiver.stored.count == 1_250 }
        try await bench.untilEmpty()
      }
      #expect(receiver.requests.count == 1_250, "none was sent twice")
      #expect(try await bench.state().dead == 0)
    }
  }

  @Test func `an account with nothing but disliked payloads holds up nobody else's, whatever Retry-After says`()
    async throws
  {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { request, _ in
        Self.isSlowAccounts(request) ? .init(status: 503, headers: ["retry-after": "300"]) : nil
      }
      try await bench.push(headers(0..<1_200, account: "slow"), payload: ByteBuffer(string: "never"))
      try await bench.push(headers(2_000..<2_050, account: "other"), payload: ByteBuffer(string: "quick"))
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in").open(logger: .silent)
      try await bench.running(try bench.worker(sink: sink)) {
        try await eventually(within: .seconds(60), "the others' are stored") { receiver.stored.count == 50 }
        let tried = receiver.requests.count { Self.isSlowAccounts($0) }
        #expect(tried < 1_000, "\(tried) of that account's were tried before")
      }
      #expect(try await bench.state().dead == 0)
    }
  }

  @Test func `large payloads that the receiver never answers hold up nobody else's`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { request, _ in
        Self.isSlowAccounts(request) ? .init(isSilent: true) : nil
      }
      // Each is a claim of its own.
      try await bench.push(headers(0..<6, account: "slow"), payload: ByteBuffer(repeating: 1, count: 2 << 20))
      try await bench.push(headers(2_000..<2_200, account: "other"), payload: ByteBuffer(string: "quick"))
      // Longer than the test waits for anything: the others' come beside them, and not after time-outs.
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?timeout=120").open(logger: .silent)
      let worker = try bench.worker(sink: sink) {
        $0.consumer.bytes = 1 << 20
        $0.drainDeadline = .zero
      }
      try await bench.running(worker) {
        try await eventually(within: .seconds(60), "the others' are stored") { receiver.stored.count == 200 }
      }
      #expect(try await bench.state().dead == 0)
    }
  }

  /// Batches have payloads of many accounts. Those of all but one are answered at once, and then each lane waits for
  /// that one's.
  @Test func `what comes while all lanes wait for one account's payloads waits for none of them`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { request, _ in
        Self.isSlowAccounts(request) ? .init(isSilent: true) : nil
      }
      func pushOthers(_ round: Int) async throws {
        for other in 0..<20 {
          let number = 10_000 + 20 * round + other
          try await bench.push(
            headers(number..<number + 1, account: "other-\(other)"), payload: ByteBuffer(string: "quick"))
        }
      }
      try await bench.push(headers(0..<5_000, account: "slow"), payload: ByteBuffer(string: "slow"))
      try await pushOthers(0)
      // Longer than the test waits for anything.
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?timeout=120").open(logger: .silent)
      let worker = try bench.worker(sink: sink) { $0.drainDeadline = .zero }
      try await bench.running(worker) {
        for round in 0..<8 {
          try await eventually(within: .seconds(30), "the others' of round \(round) are stored") {
            receiver.stored.count == 20 * (round + 1)
          }
          try await pushOthers(round + 1)
        }
      }
      #expect(try await bench.state().dead == 0)
    }
  }

  @Test func `lines that the receiver doesn't answer are kept apart from others' lines`() async throws {
    try await WorkBench.with { bench in
      @Sendable func hangs(_ request: ReceivedRequest) -> Bool {
        String(decoding: request.body, as: UTF8.self).contains("hang")
      }
      @Sendable func hasOthers(_ request: ReceivedRequest) -> Bool {
        String(decoding: request.body, as: UTF8.self).contains("quick")
      }
      let receiver = try await PayloadReceiver.start { request, _ in hangs(request) ? .init(isSilent: true) : nil }
      func pushAll(_ round: Int) async throws {
        let first = 10_000 * (round + 1)
        try await bench.push(headers(first..<first + 60, account: "slow"), payload: ByteBuffer(string: "hang"))
        for other in 100..<120 {
          try await bench.push(
            headers(first + other..<first + other + 1, account: "other-\(other)"),
            payload: ByteBuffer(string: "quick"))
        }
      }
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?batch=ndjson&timeout=1").open(logger: .silent)
      let worker = try bench.worker(sink: sink) { $0.drainDeadline = .zero }
      @Sendable func mixed() -> Int { receiver.requests.count { hangs($0) && hasOthers($0) } }
      var mixedAtFirst = 0
      try await bench.running(worker) {
        for round in 0..<6 {
          if round == 2 { mixedAtFirst = mixed() }
          try await pushAll(round)
          try await eventually(within: .seconds(60), "the others' of round \(round) are accepted") {
            let accepted = receiver.requests.filter { !hangs($0) }.map { String(decoding: $0.body, as: UTF8.self) }
            return accepted.reduce(0) { $0 + $1.components(separatedBy: "quick").count - 1 } >= 20 * (round + 1)
          }
        }
      }
      // Each lane may have begun one before it was known which lines aren't answered.
      #expect(mixed() <= mixedAtFirst + 2, "\(mixedAtFirst) bodies with lines of both at first, \(mixed()) at last")
    }
  }

  /// Each look for others widens the next one, and while one account's lines are waited for there are many.
  @Test func `others' lines are stored one after the other for as long as one account's are waited for`() async throws {
    try await WorkBench.with { bench in
      @Sendable func isSlow(_ request: ReceivedRequest) -> Bool {
        String(decoding: request.body, as: UTF8.self).contains("slow")
      }
      let receiver = try await PayloadReceiver.start()
      receiver.delay { isSlow($0) ? .seconds(60) : nil }
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?batch=ndjson&timeout=100").open(logger: .silent)
      let worker = try bench.worker(sink: sink) { $0.drainDeadline = .zero }
      try await bench.push(headers(0..<1_200, account: "slow"), payload: ByteBuffer(string: "slow"))
      try await bench.running(worker) {
        for round in 0..<80 {
          try await bench.push(
            headers(10_000 + round..<10_001 + round, account: "other-\(round)"), payload: ByteBuffer(string: "quick"))
          try await eventually(within: .seconds(60), "that of round \(round) is accepted") {
            let quick = receiver.requests.filter { !isSlow($0) }.map { String(decoding: $0.body, as: UTF8.self) }
            return quick.reduce(0) { $0 + $1.components(separatedBy: "quick").count - 1 } >= round + 1
          }
        }
        receiver.delay { _ in nil }
      }
    }
  }

  @Test func `lines that are answered late are kept apart from others' lines, and those of others aren't for long`()
    async throws
  {
    let receiver = try await PayloadReceiver.start()
    @Sendable func isSlow(_ request: ReceivedRequest) -> Bool {
      String(decoding: request.body, as: UTF8.self).contains("slow")
    }
    receiver.delay { isSlow($0) ? .milliseconds(800) : nil }
    let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?batch=ndjson").open(logger: .silent)
    func store(_ numbers: Range<Int>, _ accounts: [String]) async throws {
      let deliveries = accounts.enumerated().flatMap { place, account in
        headers(numbers.lowerBound + place..<numbers.lowerBound + place + 1, account: account).map {
          Delivery(
            header: $0, body: DecodedBody(bytes: Array((account == "slow" ? "slow" : "quick").utf8)[...], undone: nil))
        }
      }
      _ = try await sink.store(deliveries)
    }
    let all = ["slow"] + (0..<10).map { "other-\($0)" }
    // Send one payload first, so that the receiver's speed is known.
    try await store(0..<1, ["first"])
    try await store(100..<200, all)
    #expect(receiver.requests.count == 2, "all lines in one body")
    try await store(200..<300, all)
    #expect(receiver.requests.count == 2 + 11, "each account's in its own")
    try await store(300..<400, all)
    #expect(receiver.requests.count == 2 + 11 + 2, "those of the slow account in one, and all others' together")
    try await sink.close()
  }

  @Test func `what one account has left is set aside when others have been sent and it would take long`() async throws {
    let receiver = try await PayloadReceiver.start()
    receiver.delay { Self.isSlowAccounts($0) ? .milliseconds(400) : nil }
    let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?concurrency=4").open(logger: .silent)
    let all = headers(0..<100, account: "slow") + headers(100..<200, account: "quick")
    let outcomes = try await sink.store(
      all.map { Delivery(header: $0, body: DecodedBody(bytes: [1], undone: nil)) })
    #expect(outcomes[100...].allSatisfy { $0 == .stored }, "all of the quick account's")
    let slow = outcomes[..<100]
    // Some of the slow ones' requests are under way still, and come again when they have been answered.
    let sent = slow.count { outcome in
      switch outcome {
      case .stored: true
      case .postponed(let why): !why.isCounted
      default: false
      }
    }
    #expect(sent > 0, "the slow account has its turn too")
    #expect(slow.count { $0 == .setAside } == 100 - sent)
    #expect(sent < 50)
    #expect(receiver.requests.count == 100 + sent)
    try await sink.close()
  }

  @Test func `set aside, payloads wait in both of their account's lists, and an attempt isn't counted`()
    async throws
  {
    try await WorkBench.with { bench in
      try await bench.push(headers(0..<20, account: "slow"), payload: ByteBuffer(string: "x"))
      let consumer = QueueConsumer(client: bench.client, worker: try #require(WorkerName("w")))
      guard case .batch(let batch) = try await consumer.claim(slot: 0, takesSuspects: false) else {
        Issue.record("nothing was claimed")
        return
      }
      let fates = (0..<20).map { $0 < 10 ? Disposition.setAside : $0 < 15 ? .putBack : .done }
      #expect(try await consumer.settle(batch, fates) == .settled(dead: 0))
      let lists = try await bench.state().lists
      #expect(lists[0] == 5)
      #expect(lists[1...].reduce(0, +) == 10)
      #expect(lists[1...].count { $0 == 5 } == 2, "half in each of its two lists: \(lists)")
      #expect(try await bench.state().failing == 0)
      #expect(try await bench.pending() == Array(10..<15))
      guard case .batch(let few) = try await consumer.claim(slot: 0, takesSuspects: false, ownLimit: { _ in 2 }) else {
        Issue.record("nothing was claimed with a limit for accounts' own lists")
        return
      }
      #expect(few.entries.count == 9, "all of list 0, and four of the others")
      #expect(few.entries.count { $0.list > 0 } == 4)
      #expect(
        try await consumer.settle(few, few.entries.map { $0.isBelow(10) ? .setAside : .putBack }) == .settled(dead: 0))
      guard case .batch(let again) = try await consumer.claim(slot: 0, takesSuspects: false) else {
        Issue.record("nothing was claimed again")
        return
      }
      let numbers = try again.entries.map { try $0.content.get().header.number }
      #expect(Set(numbers) == Set(0..<15))
      #expect(numbers.filter { 10..<15 ~= $0 } == Array(10..<15))
    }
  }

  @Test func `each account has its turn, and one that has its share waits while others have none`() {
    var turns = HTTPTurns()
    turns.add([[0], [1], [2]], of: "a")
    turns.add([[3]], of: "b")
    turns.add([[4], [5]], of: "c")
    turns.add([[6]], of: "a")
    var order: [Int] = []
    while let (request, _) = turns.next({ _ in true }) { order += request }
    #expect(order == [0, 3, 4, 1, 5, 2, 6])
    turns.add([[0], [1]], of: "a")
    turns.add([[2], [3]], of: "b")
    #expect(turns.next { $0 != "a" }?.request == [2])
    #expect(turns.next { $0 != "a" }?.request == [3])
    #expect(turns.next { $0 != "a" }?.request == [0], "nobody else is left")
    #expect(turns.remove("a") == [[1]])
    #expect(turns.isEmpty)
  }

  @Test func `a receiver's pace is that of the account with which it is quickest`() {
    var pace = HTTPPace()
    let now = ContinuousClock.now
    #expect(pace.typical == nil)
    for _ in 0..<20 { pace.note("slow", .seconds(9), at: now) }
    #expect(pace.typical == .seconds(9))
    pace.note("quick", .milliseconds(10), at: now)
    for _ in 0..<20 { pace.note("slow", .seconds(9), at: now) }
    #expect(pace.typical == .milliseconds(10))
    for number in 0..<1_000 { pace.note("other-\(number)", .milliseconds(20), at: now) }
    #expect(pace.typical == .milliseconds(20), "bounded, and measured anew")
    pace.note("slow", .seconds(9), at: now + .seconds(100))
    #expect(pace.typical == .seconds(9), "the others are forgotten")
  }

  @Test func `a claim is as large as what the sink got through`() {
    var size = ClaimSize(most: 500)
    #expect(size.limit(of: 3) == nil)
    size.note(3, claimed: 500, setAside: 420)
    #expect(size.limit(of: 3) == 100)
    #expect(size.limit(of: 4) == nil, "each list has its own")
    size.note(3, claimed: 100, setAside: 100)
    #expect(size.limit(of: 3) == 4)
    size.note(3, claimed: 3, setAside: 0)
    #expect(size.limit(of: 3) == 4, "fewer than might have been claimed say nothing")
    for _ in 0..<10 { size.note(3, claimed: size.limit(of: 3) ?? 500, setAside: 0) }
    #expect(size.limit(of: 3) == nil)
    var single = ClaimSize(most: 1)
    single.note(3, claimed: 1, setAside: 1)
    #expect(single.limit(of: 3) == 1)
  }
}

extension ClaimedEntry {
  fileprivate func isBelow(_ number: Int) -> Bool {
    if case .success(let envelope) = content { envelope.header.number < number } else { false }
  }
}
