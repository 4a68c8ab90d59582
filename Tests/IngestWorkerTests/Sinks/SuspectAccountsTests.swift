// A worker died, and the receiver doesn't answer one account's payloads. Those of other accounts that the worker had
// must not wait for that account's.

import Hiredis
import IngestQueue
import NIOCore
import NIOHTTP1
import QueueFixture
import RedisClient
import RedisFixture
import Testing

@testable import IngestWorker

@Suite(.timeLimit(.minutes(2))) struct SuspectAccountsTests {
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

  /// A worker claims everything and dies.
  private func die(over bench: WorkBench) async throws {
    let dead = QueueConsumer(
      client: bench.client, worker: try #require(WorkerName("dead")), limits: ConsumerLimits(lease: .milliseconds(10)))
    guard case .batch = try await dead.claim(slot: 0, takesSuspects: false) else {
      Issue.record("nothing was claimed")
      return
    }
    try await eventually("they are put back") {
      _ = try await dead.reap()
      return try await bench.state().claimed == 0
    }
  }

  @Test func `suspects that the receiver never answers hold up no other account's suspects`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { request, _ in
        Self.isSlowAccounts(request) ? .init(isSilent: true) : nil
      }
      try await bench.push(headers(0..<200, account: "slow"), payload: ByteBuffer(string: "slow"))
      try await bench.push(headers(1_000..<1_010, account: "other"), payload: ByteBuffer(string: "quick"))
      try await die(over: bench)
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?timeout=1").open(logger: .silent)
      let worker = try bench.worker(sink: sink) {
        // One more death would make dead letters, so each suspect is tried alone.
        $0.consumer.deaths = 2
        $0.drainDeadline = .zero
      }
      try await bench.running(worker) {
        try await eventually(within: .seconds(60), "the other account's are stored") { receiver.stored.count == 10 }
        let slow = receiver.requests.count { Self.isSlowAccounts($0) }
        #expect(slow < 20, "\(slow) of the slow account's were tried before")
      }
      #expect(try await bench.state().dead == 0)
    }
  }

  @Test func `suspects have as much of their lane's time as other payloads, however slow these are`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start()
      receiver.delay { Self.isSlowAccounts($0) ? .milliseconds(400) : nil }
      try await bench.push(headers(1_000..<1_030, account: "other"), payload: ByteBuffer(string: "quick"))
      try await die(over: bench)
      try await bench.push(headers(0..<60, account: "slow"), payload: ByteBuffer(string: "slow"))
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in").open(logger: .silent)
      let worker = try bench.worker(sink: sink) {
        $0.lanes = 1
        $0.consumer.envelopes = 1
        $0.drainDeadline = .zero
      }
      try await bench.running(worker) {
        try await eventually(within: .seconds(60), "the suspects are stored") {
          receiver.stored.count { $0.account == "other" } == 30
        }
        // If every second claim were for the slow ones, 29 of them would come in between.
        let slow = receiver.requests.count { Self.isSlowAccounts($0) }
        #expect(slow < 20, "\(slow) of the slow account's were sent before")
      }
    }
  }

  /// No other lane tries suspects, and nothing else comes that would show that the receiver works.
  @Test func `suspects don't wait while their lane waits for other payloads that are never answered`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { request, _ in
        Self.isSlowAccounts(request) ? .init(isSilent: true) : nil
      }
      // Longer than the test waits for anything.
      let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?timeout=120").open(logger: .silent)
      let worker = try bench.worker(sink: sink) {
        $0.lanes = 1
        $0.drainDeadline = .zero
      }
      try await bench.push(headers(0..<20, account: "slow"), payload: ByteBuffer(string: "slow"))
      try await bench.running(worker) {
        try await eventually("the lane waits") { receiver.requests.contains { Self.isSlowAccounts($0) } }
        let suspects = headers(1_000..<1_010, account: "other").map { header in
          var envelope = ByteBuffer()
          header.write(to: &envelope)
          envelope.writeString("quick")
          return Array(envelope.readableBytesView)
        }
        let list = QueueLayout().pending(QueueLayout.suspects)
        _ = try await bench.client.execute(
          RedisCommand("LPUSH", arguments: [list] + suspects as [any RedisArgument])
        ).orThrow()
        try await eventually(within: .seconds(30), "the suspects are stored") { receiver.stored.count == 10 }
      }
      #expect(try await bench.state().dead == 0)
    }
  }
}
