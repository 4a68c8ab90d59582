import Foundation
import IngestQueue
import NIOCore
import QueueFixture
import RedisFixture
import Testing

@testable import IngestWorker

/// The rules that every sink must follow, on real servers and files. A sink that fails one of these tests loses
/// payloads or stores them twice.
struct SinkConformanceTests {
  private func delivery(_ number: Int, _ body: [UInt8] = [1, 2, 3], account: String = "acme") -> Delivery {
    var header = EnvelopeHeader.numbered(number)
    header.account = account
    return Delivery(header: header, body: DecodedBody(bytes: body[...], undone: nil))
  }

  /// All is done, and nothing else.
  private func expectDone(_ outcomes: [SinkOutcome], _ count: Int, _ place: SourceLocation = #_sourceLocation) {
    #expect(outcomes.count == count, sourceLocation: place)
    #expect(outcomes.allSatisfy { $0 == .stored || $0 == .duplicate }, "\(outcomes)", sourceLocation: place)
  }

  @Test(arguments: SinkKind.allCases)
  func `what is stored is what was delivered, all bytes and every field`(kind: SinkKind) async throws {
    let place = try await kind.place()
    let sink = try place.open()
    var generator = SeededGenerator.announced()
    var full = EnvelopeHeader.numbered(1)
    full.contentType = "text/plain; charset=\"utf-8\""
    full.contentEncoding = "gzip"
    full.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    var sparse = EnvelopeHeader.numbered(2)
    sparse.contentType = nil
    let bodies: [[UInt8]] = [
      Array(0...255), [], [0], Array("null".utf8), Array("{\"a\":\"b\\n\"}\n\n".utf8),
      Array("café ☕️ \u{0}\u{1F}\u{7F}\u{2028}".utf8),
      [0xFF, 0xFE], Array("\\x00\\000\t\\N\\.".utf8),
      (0..<2_000_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) },
    ]
    let deliveries =
      [
        Delivery(header: full, body: DecodedBody(bytes: [1, 2][...], undone: "gzip")),
        Delivery(header: sparse, body: DecodedBody(bytes: [9, 1, 2, 3, 9][1...3], undone: nil)),
      ] + bodies.enumerated().map { delivery(10 + $0, $1) }
    #expect(try await sink.store(deliveries) == Array(repeating: .stored, count: deliveries.count))
    let stored = try await place.stored()
    #expect(stored.count == deliveries.count)
    for (found, delivery) in zip(stored, deliveries) {
      #expect(found == place.expected(delivery), "envelope \(delivery.header.id)")
    }
    try await sink.close()
  }

  @Test(arguments: SinkKind.allCases)
  func `an envelope that comes again changes nothing, in its batch, later, and in another process`(kind: SinkKind)
    async throws
  {
    let place = try await kind.place()
    let first = try place.open()
    let tells = SinkKind.tellDuplicates.contains(kind)
    func expect(_ outcomes: [SinkOutcome], _ expected: [SinkOutcome], _ location: SourceLocation = #_sourceLocation) {
      #expect(outcomes == (tells ? expected : expected.map { _ in .stored }), sourceLocation: location)
    }
    expect(try await first.store([delivery(1), delivery(2), delivery(1)]), [.stored, .stored, .duplicate])
    expect(try await first.store([delivery(2, [9]), delivery(3)]), [.duplicate, .stored])
    try await first.close()
    let second = try place.open()
    expect(
      try await second.store([delivery(4), delivery(3, [9]), delivery(1, [9])]), [.stored, .duplicate, .duplicate])
    #expect(try await place.stored() == (1...4).map { place.expected(delivery($0)) })
    try await second.close()
  }

  @Test(arguments: SinkKind.allCases)
  func `an empty batch has no outcomes`(kind: SinkKind) async throws {
    let sink = try await kind.place().open()
    #expect(try await sink.store([]) == [])
    try await sink.close()
  }

  @Test(arguments: SinkKind.allCases)
  func `a batch of a thousand is stored, and again none of it twice`(kind: SinkKind) async throws {
    let place = try await kind.place()
    let sink = try place.open()
    let body = [UInt8](repeating: 0x78, count: 1_024)
    let deliveries = (0..<1_000).map { delivery($0, body) }
    // A receiver may be too slow for all of one account's payloads at once; what it doesn't get to comes again.
    for comingAgain in [false, true] {
      var rest = comingAgain ? deliveries.reversed() : deliveries
      while !rest.isEmpty {
        let outcomes = try await sink.store(rest)
        let isDone = outcomes.map { $0 == .stored || comingAgain && $0 == .duplicate }
        try #require(isDone.contains(true) && zip(outcomes, isDone).allSatisfy { $1 || $0 == .setAside })
        rest = zip(rest, isDone).compactMap { $1 ? nil : $0 }
      }
    }
    #expect(try await place.stored().map(\.id) == deliveries.map { "\($0.header.id)" })
    try await sink.close()
  }

  @Test(arguments: SinkKind.allCases)
  func `batches that several store at one time and that overlap are stored once`(kind: SinkKind) async throws {
    let place = try await kind.place()
    let sink = try place.open()
    try await withThrowingTaskGroup { group in
      for lane in 0..<6 {
        group.addTask {
          for turn in 0..<5 {
            let start = lane * 50 + turn * 10
            expectDone(try await sink.store((start..<start + 60).map { delivery($0) }), 60)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try await place.stored() == (0..<350).map { place.expected(delivery($0)) })
    try await sink.close()
  }

  @Test(arguments: SinkKind.canRefuse)
  func `of a batch only what can't be stored fails, with the reason`(kind: SinkKind) async throws {
    let place = try await kind.place()
    let sink = try place.open()
    #expect(try await sink.store([delivery(0)]) == [.stored])
    try await place.refuse()
    let deliveries = (1...20).map { delivery($0, account: [3, 4, 20].contains($0) ? "refused" : "acme") }
    let outcomes = try await sink.store(deliveries)
    for (outcome, delivery) in zip(outcomes, deliveries) {
      if delivery.header.account == "acme" {
        #expect(outcome == .stored)
      } else if case .failed(let reason, let retryable) = outcome {
        #expect(!retryable)
        #expect(reason.contains("served") || reason.contains("an account that we don't serve"), "\(reason)")
      } else {
        Issue.record("a payload that can't be stored is \(outcome)")
      }
    }
    let stored = try await place.stored()
    #expect(stored == ([delivery(0)] + deliveries).filter { $0.header.account == "acme" }.map { place.expected($0) })
    try await sink.close()
  }

  @Test(arguments: SinkKind.allCases)
  func `while its place is away a batch fails as a whole, and is stored once it is back`(kind: SinkKind) async throws {
    let place = try await kind.place()
    let sink = try place.open()
    #expect(try await sink.store([delivery(1)]) == [.stored])
    let batch = [delivery(2), delivery(3)]
    for _ in 0..<2 {
      try await place.goAway()
      let failure = await #expect(throws: SinkFailure.self) { try await sink.store(batch) }
      #expect(failure?.description.isEmpty == false)
      try await place.comeBack()
      try await eventually(within: .seconds(20), "the batch is stored") {
        expectDone(try await sink.store(batch), 2)
        return true
      }
    }
    #expect(try await place.stored() == (1...3).map { place.expected(delivery($0)) })
    try await sink.close()
  }

  @Test(arguments: SinkKind.canBeHeld)
  func `where storing takes for ever, a cancelled task ends soon, and all goes on afterwards`(kind: SinkKind)
    async throws
  {
    let place = try await kind.place()
    let sink = try place.open()
    #expect(try await sink.store([delivery(1)]) == [.stored])
    try await place.hold()
    let batches = [[delivery(2)], [delivery(3)]]
    let storing = batches.map { batch in Task { try await sink.store(batch) } }
    let clock = ContinuousClock()
    let begun = clock.now
    for task in storing { task.cancel() }
    for task in storing { await #expect(throws: SinkFailure.self) { try await task.value } }
    // Sinks' own deadlines are 5 s and more.
    #expect(clock.now - begun < .seconds(4))
    try await place.release()
    try await eventually(within: .seconds(20), "it stores again") {
      for batch in batches { expectDone(try await sink.store(batch), 1) }
      return true
    }
    #expect(try await place.stored() == (1...3).map { place.expected(delivery($0)) })
    try await sink.close()
  }

  @Test(arguments: SinkKind.allCases)
  func `a worker that is killed in the middle loses nothing, and the next one stores nothing twice`(kind: SinkKind)
    async throws
  {
    let place = try await kind.place()
    let folder = place.address
    try await WorkBench.with { bench in
      func start(_ name: String) async throws -> ServiceProcess {
        try await ServiceProcess.start(
          "ingest-worker",
          [
            "--redis", "\(bench.server.endpoint)", "--name", name, "--sink", folder, "--lease", "1s", "--batch", "20",
          ])
      }
      let victim = try await start("victim")
      try await bench.push(0..<3_000)
      try await eventually(within: .seconds(20), "some are stored") { try await !place.stored().isEmpty }
      victim.kill9()
      _ = try await victim.waitForExit()
      let heir = try await start("heir")
      try await eventually(within: .seconds(60), "all are stored") { try await place.stored().count >= 3_000 }
      try await eventually(within: .seconds(20), "the queue is empty") {
        let state = try await bench.state()
        return state.pending + state.later + state.claimed == 0
      }
      heir.terminate()
      #expect(try await heir.waitForExit() == .exited(0), "\(heir.outputs)")
      let ids = try await place.stored().map(\.id)
      #expect(ids == (0..<3_000).map { "\(EnvelopeHeader.numbered($0).id)" })
      #expect(try await bench.state().dead == 0)
    }
  }
}
