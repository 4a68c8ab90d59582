// Counts the events of batches. Honeycomb's clients want one status for each event of a batch, so the node must read
// the body.
//
// The sender of the body determines how long counting takes: 16 MiB of compressed blocks without content take a second,
// and so do 80 KiB that decompress to 16 MiB. On an event loop every other connection would wait for that. So an event
// loop counts only batches that certainly take a moment, by their bytes before and after decompression. All others are
// counted on separate threads.
//
// On those threads accounts take turns. In the order of arrival, one account's expensive batches would delay those of
// all others.
//
// Rejected: counting in pieces while the body arrives. It is as much work, still on the event loop, and needs a
// decoder's state for each connection.

internal import BodyCoding
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// A batch whose events must be counted.
struct Batch: Sendable {
  let body: ByteBuffer
  private let format: EventCount.Format
  private let compression: CompressionFormat?

  /// Limits for the decompressed batch.
  private static let bounds = DecodedBounds(bytes: 16 << 20, ratio: 200)
  /// Limits for a batch that is counted on an event loop, where nothing may take longer than some milliseconds.
  static let briefBounds = DecodedBounds(bytes: 256 << 10, ratio: 200)
  /// Maximum bytes of a body that is counted on an event loop: if it is compressed, and if it isn't.
  static let briefCompressed = 16 << 10
  private static let briefPlain = 256 << 10

  /// - Parameters:
  ///   - contentType: The request's header.
  ///   - contentEncoding: The request's header.
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
    // Brotli has no magic bytes.
    compression =
      CompressionFormat(firstBytesOf: body.readableBytesSpan)
      ?? (contentEncoding?.lowercased() == "br" ? .brotli : nil)
  }

  /// The number of events, if it can be counted in a moment; nil if it may take longer.
  func countBriefly() throws(PushRejection) -> Int? {
    guard compression != nil else {
      // For msgpack only the first bytes are read.
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

  /// The number of events.
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

/// Counts batches that take too long for an event loop on separate threads.
final class BatchCounter: Sendable {
  /// Maximum waiting batches: of one account, and in all. Further ones are answered 503. Their bytes count against the
  /// event loops' budgets.
  static let accountLimit = 64
  static let limit = 1_024

  private let waiting = Mutex(TurnQueue<String, @Sendable () -> Void>())
  private let run: @Sendable (@escaping @Sendable () -> Void) -> Void

  /// - Parameter run: Runs a closure, soon and on another thread.
  init(run: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) { self.run = run }

  convenience init(threads: NIOThreadPool) {
    self.init { work in
      threads.submit { state in
        // Cancelled only if the node has ended. Then nobody waits for an answer any more.
        if case .active = state { work() }
      }
    }
  }

  /// The number of events of a batch. The future fails with a `PushRejection`.
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
    // This isn't necessarily the batch that was just added: accounts take turns.
    run { self.waiting.withLock { $0.popFirst() }?() }
    return promise.futureResult
  }
}
