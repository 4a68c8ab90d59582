// A receiver that dislikes some payloads and takes all others: a firewall, mostly. Whatever it answers to these, the others must arrive, and
// these must end as dead letters. And a receiver that is away, or has another password now, must make no dead letters.

import Fleet
import Foundation
import IngestQueue
import NIOCore
import NIOHTTP1
import QueueFixture
import RedisClient
import RedisFixture
import Synchronization
import Testing

@testable import IngestWorker

/// The receiver's reaction to a payload that it dislikes.
enum Dislike: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case forbidden, unauthorized, badGateway, tooMany, internalError, silent, reset

  /// One of each kind.
  static let chosen: [Dislike] = [.forbidden, .badGateway, .silent, .reset]

  var testDescription: String { rawValue }

  var reply: PayloadReceiver.Reply {
    switch self {
    case .forbidden: .init(status: 403, body: "blocked")
    case .unauthorized: .init(status: 401)
    case .badGateway: .init(status: 502)
    case .tooMany: .init(status: 429)
    case .internalError: .init(status: 500)
    case .silent: .init(isSilent: true)
    case .reset: .init(isReset: true)
    }
  }
}

struct DislikedPayloadTests {
  /// Headers of payloads that the receiver dislikes, with numbers from 100,000.
  private func disliked(_ numbers: some Sequence<Int>) -> [EnvelopeHeader] {
    numbers.map { .numbered(100_000 + $0) }
  }

  private func isDisliked(_ request: ReceivedRequest) -> Bool {
    String(decoding: request.body, as: UTF8.self).contains("<script>")
  }

  private func push(disliked numbers: some Sequence<Int>, to bench: WorkBench) async throws {
    try await bench.push(disliked(numbers), payload: ByteBuffer(string: "<script>alert(1)</script>"))
  }

  private func worker(
    _ bench: WorkBench, _ receiver: PayloadReceiver, _ query: String = "?timeout=2", attempts: Int = 3, batch: Int = 50,
    name: String = "worker-1"
  ) throws -> Worker {
    let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in\(query)").open(logger: .silent)
    return try bench.worker(name, sink: sink) {
      $0.consumer.attempts = attempts
      $0.consumer.envelopes = batch
      $0.retry = Backoff(first: .milliseconds(20), most: .milliseconds(100))
    }
  }

  /// Goes on pushing payloads that are fine, until the condition holds: what is disliked is found out beside these.
  private func pushing(
    from number: Int, to bench: WorkBench, until description: String, _ condition: () async throws -> Bool
  ) async throws {
    var next = number
    try await eventually(within: .seconds(60), description) {
      if try await condition() { return true }
      try await bench.push([next])
      next += 1
      return false
    }
  }

  @Test(arguments: Dislike.chosen, [2, 10, 100])
  func `disliked payloads hold up no others and become dead letters`(dislike: Dislike, count: Int) async throws {
    try await expectOthersArrive(dislike, count)
  }

  @Test(arguments: [Dislike.unauthorized, .tooMany, .internalError])
  func `it is the same with any other answer`(dislike: Dislike) async throws {
    try await expectOthersArrive(dislike, 10)
  }

  private func expectOthersArrive(_ dislike: Dislike, _ count: Int) async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { [self] request, _ in isDisliked(request) ? dislike.reply : nil }
      // The disliked ones come first, and then they are a third of all.
      try await push(disliked: 0..<min(count, 10), to: bench)
      for part in 0..<10 {
        if count > 10 { try await push(disliked: (part * 10 + 10)..<(part * 10 + 20), to: bench) }
        try await bench.push((part * 20)..<(part * 20 + 20))
      }
      let bad = count > 10 ? 110 : count
      let worker = try worker(bench, receiver)
      try await bench.running(worker) {
        try await eventually(within: .seconds(60), "all others arrive") {
          Set(receiver.stored.map(\.id)).isSuperset(of: (0..<200).map { "\(EnvelopeHeader.numbered($0).id)" })
        }
        try await pushing(from: 1_000, to: bench, until: "the disliked ones are dead letters") {
          try await bench.state().dead == bad
        }
        try await bench.untilEmpty()
      }
      let letters = try await bench.deadLetters()
      #expect(Set(letters.map(\.id)) == Set(disliked(0..<bad).map { "\($0.id)" }))
      #expect(letters.allSatisfy { $0.attempts == 3 })
      let sent = receiver.requests.filter { !isDisliked($0) }.compactMap { $0.headers.first(name: "idempotency-key") }
      #expect(sent.count == Set(sent).count, "what was accepted isn't sent again")
    }
  }

  @Test(arguments: [Dislike.forbidden, .silent, .reset], [2, 30])
  func `in bodies of many lines too the disliked ones hold up no others`(dislike: Dislike, count: Int) async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { [self] request, _ in isDisliked(request) ? dislike.reply : nil }
      try await push(disliked: 0..<2, to: bench)
      for part in 0..<10 {
        if count > 2 { try await push(disliked: (part * 3 + 2)..<(part * 3 + 5), to: bench) }
        try await bench.push((part * 6)..<(part * 6 + 6))
      }
      let bad = count > 2 ? 32 : 2
      try await bench.running(try worker(bench, receiver, "?batch=ndjson&timeout=1")) {
        try await eventually(within: .seconds(60), "all others arrive") {
          Set(receiver.stored.map(\.id)).isSuperset(of: (0..<60).map { "\(EnvelopeHeader.numbered($0).id)" })
        }
        try await pushing(from: 1_000, to: bench, until: "the disliked ones are dead letters") {
          try await bench.state().dead == bad
        }
      }
    }
  }

  @Test(arguments: [Dislike.forbidden, .silent, .reset])
  func `one payload at a time, and each lane has a disliked one, others are tried beside them`(dislike: Dislike)
    async throws
  {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { [self] request, _ in isDisliked(request) ? dislike.reply : nil }
      try await push(disliked: 0..<2, to: bench)
      try await bench.running(try worker(bench, receiver, "?timeout=2", batch: 1)) {
        try await eventually("both were tried") { receiver.requests.count >= 2 }
        try await bench.push(0..<50)
        try await eventually(within: .seconds(30), "the others arrive") { receiver.stored.count == 50 }
        try await pushing(from: 1_000, to: bench, until: "both are dead letters") {
          try await bench.state().dead == 2
        }
      }
    }
  }

  @Test(arguments: [401, 403, 404, 500, 503])
  func `a receiver that refuses everything makes no dead letters, and gets everything when it takes it again`(
    status: Int
  ) async throws {
    try await WorkBench.with { bench in
      let isRefusing = Atomic(false)
      let receiver = try await PayloadReceiver.start { _, _ in
        isRefusing.load(ordering: .relaxed) ? .init(status: status) : nil
      }
      // A payload that was rejected just before others were accepted counts one failure.
      let worker = try worker(bench, receiver, attempts: 3)
      try await bench.running(worker) {
        try await bench.push(0..<100)
        try await eventually("the first ones arrive") { receiver.stored.count == 100 }
        isRefusing.store(true, ordering: .relaxed)
        try await bench.push(100..<400)
        try await eventually("it is in trouble") { worker.report.state == .trouble }
        let tried = receiver.requests.count
        try await eventually(within: .seconds(30), "it goes on trying") { receiver.requests.count > tried + 100 }
        #expect(try await bench.state().dead == 0)
        isRefusing.store(false, ordering: .relaxed)
        try await eventually(within: .seconds(30), "the others arrive") { receiver.stored.count == 400 }
        try await bench.untilEmpty()
      }
      #expect(try await bench.state().dead == 0)
    }
  }

  @Test func `a payload that is alone in the queue is never a dead letter, and one that is taken beside it decides`()
    async throws
  {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { [self] request, _ in
        isDisliked(request) ? .init(status: 403) : nil
      }
      try await push(disliked: [0], to: bench)
      try await bench.running(try worker(bench, receiver, attempts: 1)) {
        try await eventually("it was tried ten times") { receiver.requests.count >= 10 }
        #expect(try await bench.state().dead == 0)
        try await bench.push([1])
        try await eventually("it is a dead letter") { try await bench.state().dead == 1 }
      }
      #expect(receiver.stored.count == 1)
    }
  }

  @Test func `a worker that is killed in the middle loses no good payload, and counts go on`() async throws {
    try await WorkBench.with { bench in
      let receiver = try await PayloadReceiver.start { [self] request, _ in
        isDisliked(request) ? .init(status: 403) : nil
      }
      try await push(disliked: 0..<3, to: bench)
      try await bench.push(0..<300)
      func start(_ name: String) async throws -> ServiceProcess {
        try await ServiceProcess.start(
          "ingest-worker",
          [
            "--redis", "\(bench.server.endpoint)", "--name", name, "--lease", "1s", "--batch", "20", "--attempts", "3",
            "--sink", "http://127.0.0.1:\(receiver.port)/in",
          ])
      }
      let victim = try await start("victim")
      try await eventually("a failure is counted") { try await bench.state().failing > 0 }
      victim.kill9()
      _ = try await victim.waitForExit()
      let heirs = [try await start("heir-1"), try await start("heir-2")]
      try await pushing(from: 1_000, to: bench, until: "the disliked ones are dead letters") {
        try await bench.state().dead == 3
      }
      try await bench.untilEmpty()
      #expect(receiver.stored.count { $0.receivedAt < 1_790_000_000_300 } == 300)
      for letter in try await bench.deadLetters() { #expect(letter.attempts + letter.deaths >= 3) }
      for heir in heirs {
        heir.terminate()
        #expect(try await heir.waitForExit() == .exited(0))
      }
    }
  }

  @Test(arguments: [
    ("an endless reason phrase", "HTTP/1.1 200 ", "words "),
    ("endless interim answers", "", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
    ("an endless chunk extension", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;", "a=b;"),
    ("endless fields", "HTTP/1.1 200 OK\r\n", "x-more: and more\r\n"),
    ("an endless field", "HTTP/1.1 200 OK\r\nx-more: ", "and more "),
    ("an endless body", "HTTP/1.1 500 No\r\ncontent-length: 99999999999\r\n\r\n", "and more "),
    ("endless trailers", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x-more: and more\r\n"),
  ])
  func `an answer without end costs a bounded part of memory, and nothing waits for its end`(
    name: String, beginning: String, unit: String
  ) async throws {
    let receiver = try await PayloadReceiver.start { request, _ in
      request.body == [1] ? .init(flood: (beginning, unit)) : nil
    }
    let sink = try SinkAddress("http://127.0.0.1:\(receiver.port)/in?timeout=5").open(logger: .silent)
    let before = try residentBytes()
    for number in 0..<20 {
      let deliveries = [1, 2].map { body in
        Delivery(
          header: .numbered(2 * number + body), body: DecodedBody(bytes: [UInt8(body)], undone: nil))
      }
      let outcomes = try await sink.store(deliveries)
      #expect(outcomes[1] == .stored)
    }
    #expect(try residentBytes() - before < 100 << 20, "\(name)")
    try await sink.close()
  }

  private func residentBytes() throws -> Int {
    let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1]
    return try #require(Int(pages)) * sysconf(Int32(_SC_PAGESIZE))
  }
}
