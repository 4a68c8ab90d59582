// Counts the events of batches. Honeycomb's clients want one status for each event of a batch, so the node must look into the body.
//
// How long that takes is up to whoever wrote the body: 16 MiB of compressed blocks that hold nothing take a second, and so do 80 KiB that
// unfold to 16 MiB. On an event loop every other connection would wait for that. So a loop only counts what is certain to take a
// moment, by the bytes that go in and by those that come out; all else goes to threads of their own.
//
// There accounts take turns. In the order of arrival, one account's expensive batches would hold up everybody else's.
//
// Rejected: counting piece by piece as the body comes. It is as much work, still on the loop, and a decoder's state for each connection.

internal import BodyCoding
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// A batch whose events are to be counted.
struct Batch: Sendable {
  let body: ByteBuffer
  private let format: EventCount.Format
  private let compression: CompressionFormat?

  /// What may come out of a batch.
  private static let bounds = DecodedBounds(bytes: 16 << 20, ratio: 200)
  /// What may come out of one that is counted on an event loop, where nothing that takes longer than some milliseconds may be done.
  static let briefBounds = DecodedBounds(bytes: 256 << 10, ratio: 200)
  /// Of a compressed body and of one that isn't, the most bytes that are looked at on an event loop.
  static let briefCompressed = 16 << 10
  private static let briefPlain = 256 << 10

  /// - Parameters:
  ///   - contentType: As the request has it.
  ///   - contentEncoding: As the request has it.
  init(
    _ body: ByteBuffer, _ media: MediaType, contentType: String?, contentEncoding: String?
  ) throws(PushRejection) {
    switch media {
    case .json: format = .json
    case .msgpack: format = .msgpack
    case .protobuf, .other:
      throw .uncountable(
        "expected application/json or application/msgpack, got \(contentType ?? "no content type")")
    }
    self.body = body
    // Brotli has no first bytes of its own.
    compression =
      CompressionFormat(firstBytesOf: body.readableBytesSpan)
      ?? (contentEncoding?.lowercased() == "br" ? .brotli : nil)
  }

  /// How many events there are, if that is known in a moment; nil where it may take longer.
  func countBriefly() throws(PushRejection) -> Int? {
    guard compression != nil else {
      // Of msgpack only the first bytes are looked at.
      return format == .msgpack || body.readableBytes <= Self.briefPlain ? try count() : nil
    }
    guard body.readableBytes <= Self.briefCompressed else { return nil }
    do throws(EventCount.Failure) {
      return try count(within: Self.briefBounds)
    } catch .undecodable(.tooLarge) {
      return nil
    } catch {
      throw Self.failing(error)
    }
  }

  /// How many events there are.
  func count() throws(PushRejection) -> Int {
    do throws(EventCount.Failure) { return try count(within: Self.bounds) } catch { throw Self.failing(error) }
  }

  private func count(within bounds: DecodedBounds) throws(EventCount.Failure) -> Int {
    try EventCount.count(in: body.readableBytesSpan, format: format, compression: compression, within: bounds)
  }

  private static func failing(_ error: EventCount.Failure) -> PushRejection {
    if case .undecodable(.tooLarge(let limit)) = error { return .tooLarge(limit: limit) }
    return .uncountable("\(error)")
  }
}

/// Counts on threads of its own what takes too long for an event loop.
final class BatchCounter: Sendable {
  /// How many batches of one account may wait, and of all. What is beyond is answered 503. Their bytes are held against the event loops'
  /// budgets.
  static let accountLimit = 64
  static let limit = 1_024

  private let waiting = Mutex(TurnQueue<String, @Sendable () -> Void>())
  private let run: @Sendable (@escaping @Sendable () -> Void) -> Void

  /// - Parameter run: Runs what it is given, soon and elsewhere.
  init(run: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) { self.run = run }

  convenience init(threads: NIOThreadPool) {
    self.init { work in
      threads.submit { state in
        // Cancelled only where the node has ended, and nobody waits for an answer any more.
        if case .active = state { work() }
      }
    }
  }

  /// How many events a batch has. The future fails with a `PushRejection`.
  func count(_ batch: Batch, of account: String, on eventLoop: any EventLoop) -> EventLoopFuture<Int> {
    let promise = eventLoop.makePromise(of: Int.self)
    let job: @Sendable () -> Void = {
      do throws(PushRejection) { promise.succeed(try batch.count()) } catch { promise.fail(error) }
    }
    do throws(PushRejection) {
      try waiting.withLock { waiting throws(PushRejection) in
        guard waiting.count < Self.limit else { throw .unavailable(.nodeFull) }
        guard waiting.count(of: account) < Self.accountLimit else { throw .unavailable(.accountFull) }
        waiting.append(job, of: account)
      }
    } catch {
      promise.fail(error)
      return promise.futureResult
    }
    // Not necessarily this one: whose turn it is.
    run { self.waiting.withLock { $0.popFirst() }?() }
    return promise.futureResult
  }
}
