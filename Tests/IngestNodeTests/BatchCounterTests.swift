// A batch is counted on an event loop only if that is quick for any body. Other batches are counted on another thread,
// where accounts take turns.

import BodyCoding
import CompressionFixture

import Foundation
import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import IngestNode

@Suite struct BatchCounterTests {
  private func batch(_ body: [UInt8], _ media: MediaType = .json, encoding: String? = nil) throws(PushRejection)
    -> Batch
  {
    try Batch(ByteBuffer(bytes: body), media, contentType: "x", contentEncoding: encoding)
  }

  /// This process's own time on processors: what others do on this machine doesn't count.
  private func processorTime(_ body: () throws -> Void) rethrows -> Duration {
    let begun = clock()
    try body()
    // POSIX: a million a second.
    return .microseconds(clock() - begun)
  }

  @Test func `what an event loop decodes takes less than 20 ms, whatever it is made of`() throws {
    for body in try CostlyBody.all(size: Batch.briefCompressed) {
      #expect(body.bytes.count <= Batch.briefCompressed, "\(body.name)")
      let format = try #require(CompressionFormat(rawValue: body.format.rawValue))
      // The least of some rounds: a processor that was taken away in the midst of one has cold caches.
      let time = try (0..<5).map { _ in
        try processorTime {
          do throws(Decompression.Failure) {
            try Decompression.pieces(of: body.bytes.span.bytes, as: format, within: Batch.briefBounds) { _ in .more }
          } catch {
            // Too much comes out, which is found out in that time. Nothing else may be wrong, or not all of it was decoded.
            guard case .tooLarge = error else { throw error }
          }
        }
      }.min()
      #expect(try #require(time) < .milliseconds(20), "\(body.name)")
    }
  }

  @Test func `what may take longer isn't counted on an event loop`() throws {
    // Zeros stay small, and are known at their first byte not to be a batch.
    let bodies = try CostlyBody.all(size: 1 << 20).filter { $0.bytes.count > Batch.briefCompressed }
    #expect(bodies.count >= 10)
    for body in bodies {
      for media in [MediaType.json, .msgpack] {
        let batch = try batch(body.bytes, media, encoding: body.format == .br ? "br" : nil)
        #expect(try batch.countBriefly() == nil, "\(body.name)")
      }
    }
    let long = Array("[\(String(repeating: "1,", count: 1 << 17))1]".utf8)
    #expect(try batch(long).countBriefly() == nil)
  }

  @Test func `usual batches are counted at once`() throws {
    let body = Array("[\(String(repeating: #"{"time":"2026-11-29","data":{"x":1}},"#, count: 49))[]]".utf8)
    #expect(try batch(body).countBriefly() == 50)
    for format in Compression.Format.allCases {
      let batch = try batch(format.compress(body), encoding: format == .br ? "br" : nil)
      #expect(try batch.countBriefly() == 50 && batch.count() == 50)
    }
  }

  /// Holds what it is to run until a test says so.
  private final class Held: Sendable {
    private let work = Mutex<[@Sendable () -> Void]>([])
    var count: Int { work.withLock(\.count) }
    func add(_ more: @escaping @Sendable () -> Void) { work.withLock { $0.append(more) } }
    func runOne() { work.withLock { $0.isEmpty ? nil : $0.removeFirst() }?() }
  }

  /// A batch that an event loop doesn't count.
  private static let costly = "[\(String(repeating: "1,", count: 1 << 17))1]"

  private func request(_ key: String = "good", _ body: String = costly) -> String {
    .post(to: "/1/batch/set", key: nil, "X-Honeycomb-Team: \(key)", "Content-Type: application/json", body: body)
  }

  @Test func `while one is counted its connection waits, and holds its bytes`() throws {
    let held = Held()
    let client = EmbeddedClient(batches: BatchCounter(run: held.add))
    client.send(request() + .post())
    #expect(held.count == 1 && client.gate.pushes.isEmpty && client.stream.isEmpty)
    #expect(client.budget.used == Self.costly.utf8.count)
    held.runOne()
    client.pass(.zero)
    // More events than a batch may have.
    #expect(try client.statuses() == [400, 202] && client.budget.used == 0)
  }

  @Test func `a client that goes away meanwhile leaves its bytes held until that is over`() throws {
    let held = Held()
    let client = EmbeddedClient(batches: BatchCounter(run: held.add))
    client.send(request())
    client.reset()
    #expect(client.budget.used == Self.costly.utf8.count)
    held.runOne()
    client.pass(.zero)
    #expect(client.budget.used == 0 && client.gate.pushes.isEmpty)
  }

  @Test func `accounts take turns, and none may have too many that wait`() throws {
    let held = Held()
    let counter = BatchCounter(run: held.add)
    let loop = EmbeddedEventLoop()
    let counted = Mutex<[String]>([])
    func count(_ account: String, _ index: Int) throws {
      counter.count(try batch(Array("[1]".utf8)), of: account, on: loop).whenComplete { result in
        counted.withLock { if case .success = result { $0.append("\(account)\(index)") } else { $0.append("no") } }
      }
    }
    for index in 0..<BatchCounter.accountLimit { try count("a", index) }
    try count("a", 64)
    #expect(counted.withLock { $0 } == ["no"])
    try count("b", 0)
    try count("b", 1)
    for _ in 0..<4 { held.runOne() }
    #expect(counted.withLock { $0 } == ["no", "a0", "b0", "a1", "b1"])
    while held.count > 0 { held.runOne() }
    #expect(counted.withLock(\.count) == 1 + 64 + 2)
  }
}
