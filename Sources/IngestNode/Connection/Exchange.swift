// A request whose head has come and that isn't answered yet: what was read from the head while its bytes were there, what
// is in hand for it, and what it waits for. An object, not a value in an optional: it is looked at a dozen times for a push, and each look at a value of so many
// parts would retain them all.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica
internal import NIOCore

final class Exchange {
  let number: RequestNumber
  let dialect: Dialect
  let media: MediaType
  /// The labels as bytes, for dialects that look into the body; otherwise nil. They are bytes because converting
  /// invalid UTF-8 to text takes long. That is done only for clients with an active key.
  let labels: Labels?
  var request: PushRequest
  var key: KeyID?
  /// If the head has no key, the reason.
  let withoutKey: PushRejection
  /// Of the budget, for the body.
  var held: ReservedBytes
  /// Of the budget, for the answer, until the kernel has it.
  var answerHeld: ReservedBytes?
  /// The number of events in the body, once they are counted.
  var events: Int?
  /// What is awaited.
  var state: ExchangeState
  /// The pending enqueue, from its start until its outcome is known.
  var handover: PendingEnqueue?

  /// The account of the key, once it is admitted.
  var account: String? { held.account }

  /// Whether the body has to arrive before it is known whether there is a key.
  var keyIsInBody: Bool { key == nil && dialect.hasKeyInBody }

  struct Labels {
    let contentType: [UInt8]?
    let contentEncoding: [UInt8]?
  }

  /// - Parameters:
  ///   - bytes: Beginning with the head.
  ///   - held: Nothing yet.
  init(
    _ number: RequestNumber, _ dialect: Dialect, _ purpose: Route.Purpose, _ head: RequestHead, _ bytes: RawSpan,
    _ held: consuming ReservedBytes
  ) {
    self.number = number
    self.held = held
    self.dialect = dialect
    state = ExchangeState(purpose)
    let contentType = head.label("content-type", in: bytes)
    let contentEncoding = head.label("content-encoding", in: bytes)
    media = MediaType(contentType, in: bytes)
    labels =
      purpose == .batch
      ? Labels(
        contentType: contentType.map { bytes.extracting($0).withUnsafeBytes(Array.init) },
        contentEncoding: contentEncoding.map { bytes.extracting($0).withUnsafeBytes(Array.init) }) : nil
    request = PushRequest(
      members: RequestMembers(
        of: bytes, path: head.path, contentType: contentType, contentEncoding: contentEncoding,
        traceparent: head.label("traceparent", in: bytes)),
      // An empty one is the result of a variable that wasn't set. It doesn't distinguish payloads.
      idempotencyKey: head.first("idempotency-key", in: bytes).flatMap { range in
        range.isEmpty ? nil : bytes.extracting(range).withUnsafeBytes(Array.init)
      })
    let presented = PresentedKey.find(dialect.keys, in: head, bytes)
    if case .key(let id) = presented { key = id }
    withoutKey = presented == .tooLong ? .keyTooLong(limit: PresentedKey.limit) : .missingKey
  }

  /// Whether as much of the body has come as a key is looked for in.
  /// - Parameters:
  ///   - newest: How many bytes at its end weren't there before.
  ///   - announced: How long it is; nil where that isn't known.
  func hasFirstLine(newest: Int, announced: Int?) -> Bool {
    let body = request.body
    // If the body has no line end, all of it.
    return body.readableBytes == announced
      || PresentedKey.hasFirstLine(body.readableBytesSpan, searched: body.readableBytes - newest)
  }

  /// Adds a part of the body.
  /// - Parameter isWhole: Whether it is all of it.
  func append(_ part: ByteBuffer, isWhole: Bool) {
    if request.body.readableBytes > 0 {
      request.body.writeImmutableBuffer(part)
    } else if isWhole || part.storageCapacity <= 4 * part.readableBytes {
      request.body = part
    } else {
      // The rest may take its time, and a few bytes mustn't keep the memory of the whole read.
      request.body = ByteBufferAllocator().buffer(buffer: part)
    }
  }
}

extension RequestHead {
  /// The longest Content-Type, Content-Encoding or traceparent that is kept, in bytes: ten times what any client sends.
  static let longestLabel = 1 << 10

  /// The value of a header that is kept with the payload; nil if there is none, or if it is longer than any meaningful
  /// one. It is kept before it is known whether the key is active, so it must cost little.
  func label(_ name: FieldName, in bytes: RawSpan) -> Range<Int>? {
    guard let value = first(name, in: bytes), value.count <= Self.longestLabel else { return nil }
    return value
  }
}
