// A spool in a folder of its test's own, and payloads for it.

import Foundation
import IngestQueue
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Synchronization

@testable import IngestSpool

/// A folder and what a test does with the spool in it.
final class SpoolBench: Sendable {
  let folder: TemporaryFolder
  private let clock = Mutex<Int64>(1_700_000_000_000)

  init() throws { folder = try TemporaryFolder() }

  var path: String { folder.path("spool") }
  var file: String { folder.path("spool/spool.sqlite") }

  /// - Parameter folder: Another one than the bench's.
  func open(
    in folder: String? = nil, _ change: (inout SpoolLimits) -> Void = { _ in }
  ) throws -> Spool {
    var limits = SpoolLimits()
    // A loaded machine's disk may be slow.
    limits.deadline = .seconds(30)
    change(&limits)
    return try Spool(
      folder: folder ?? path, limits: limits, logger: Logger(label: "spool") { _ in SwiftLogNoOpLogHandler() },
      now: { self.clock.withLock { $0 } })
  }

  func pass(_ time: Duration) { clock.withLock { $0 += time.components.seconds * 1_000 } }
}

enum Sample {
  static let loop = MultiThreadedEventLoopGroup.singleton.any()

  static func header(_ number: Int, of account: String = "acme") -> EnvelopeHeader {
    EnvelopeHeader(
      id: EnvelopeID(keyID: [], idempotencyKey: "\(number)".utf8), account: account, key: "0123456789abcdef",
      receivedAt: 1_700_000_000_000 + Int64(number), contentType: "application/json", path: "/v1/events", node: "node-1"
    )
  }

  static func payload(_ number: Int, bytes: Int = 0) -> ByteBuffer {
    ByteBuffer(string: "payload \(number)" + String(repeating: ".", count: bytes))
  }

  /// Bytes that one payload takes in the spool.
  static func size(_ number: Int, bytes: Int = 0) -> Int {
    var element = ByteBuffer()
    header(number).write(to: &element)
    return element.readableBytes + payload(number, bytes: bytes).readableBytes
  }
}

extension Spool {
  func append(_ number: Int, bytes: Int = 0) async throws {
    try await append(Sample.header(number), payload: Sample.payload(number, bytes: bytes), on: Sample.loop).get()
  }

  /// All of these, in their order.
  func append(_ numbers: Range<Int>, bytes: (Int) -> Int = { _ in 0 }) async throws {
    let futures = numbers.map {
      append(Sample.header($0), payload: Sample.payload($0, bytes: bytes($0)), on: Sample.loop)
    }
    for future in futures { try await future.get() }
  }

  /// What the next payload hears.
  func refusal(_ number: Int = 0, bytes: Int = 0) async -> SpoolFailure? {
    do {
      try await append(number, bytes: bytes)
      return nil
    } catch {
      return error as? SpoolFailure
    }
  }

  /// The payloads in it, in their order.
  func payloads() async throws -> [Envelope] {
    var found: [SpooledPayload] = []
    while true {
      let next = try await next(entries: 100)
      if next.isEmpty { break }
      found += next
    }
    putBack(found)
    return try found.sorted { $0.number < $1.number }.map { try Envelope($0.element) }
  }
}

/// The payloads that a drain has pushed, and the outcome of each.
final class ScriptedQueue: Sendable {
  private struct State {
    var pushed: [Envelope] = []
    var failure: EnqueueError?
    var failures: [EnvelopeID: EnqueueError] = [:]
    var tries: [EnvelopeID: Int] = [:]
  }

  private let state = Mutex(State())

  var pushed: [Envelope] { state.withLock(\.pushed) }
  var ids: [EnvelopeID] { pushed.map(\.header.id) }

  /// From now on every push fails with this error; nil for none.
  func fails(_ failure: EnqueueError?) { state.withLock { $0.failure = failure } }
  func fails(_ failure: EnqueueError?, for id: EnvelopeID) { state.withLock { $0.failures[id] = failure } }

  func tries(of id: EnvelopeID) -> Int { state.withLock { $0.tries[id, default: 0] } }

  func push(_ header: EnvelopeHeader, _ payload: ByteBuffer) -> EventLoopFuture<Void> {
    let failure = state.withLock { state in
      state.tries[header.id, default: 0] += 1
      let failure = state.failures[header.id] ?? state.failure
      if failure == nil {
        state.pushed.append(Envelope(header: header, payload: Array(payload.readableBytesView)[...]))
      }
      return failure
    }
    return failure.map { Sample.loop.makeFailedFuture($0) } ?? Sample.loop.makeSucceededVoidFuture()
  }

  func drain(_ spool: Spool) -> SpoolDrain {
    SpoolDrain(spool, logger: Logger(label: "drain") { _ in SwiftLogNoOpLogHandler() }) { self.push($0, $1) }
  }
}

extension ContinuousClock.Instant {
  static var farAway: Self { .now + .seconds(60) }
}

extension Spool {
  func append(
    _ header: EnvelopeHeader, payload: ByteBuffer, of account: String? = nil, on eventLoop: any EventLoop
  ) -> EventLoopFuture<Void> {
    var element = ByteBuffer()
    header.write(to: &element)
    element.writeImmutableBuffer(payload)
    // Each of an account of its own, so that the spool's own limits are met.
    return append(element, of: account ?? "\(header.id)", on: eventLoop)
  }
}
