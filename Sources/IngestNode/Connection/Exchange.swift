// A request from the arrival of its head to its answer: the parts of the head that were read while it was in memory,
// the resources that are held for the request, and its state. Rejected: a struct in an optional. It is accessed a dozen
// times for a push, and each access to a struct of so many parts would retain them all.

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
  /// The values of Content-Type and Content-Encoding, for dialects that read the body; otherwise nil. They are bytes
  /// because converting invalid UTF-8 to text takes long. That is done only for clients with an active key.
  let labels: Labels?
  var request: PushRequest
  var key: KeyID?
  /// The reason for the rejection if the head has no key.
  let withoutKey: PushRejection
  /// Bytes of the budget for the body.
  @exclusivity(unchecked) var held: ReservedBytes
  /// Bytes of the budget for the answer, held until the kernel has the answer.
  var answerHeld: ReservedBytes?
  /// The number of events in the body, once they are counted.
  var events: Int?
  /// What the request waits for.
  @exclusivity(unchecked) var state: ExchangeState
  /// The pending enqueue, from its start until its outcome is known.
  var handover: PendingEnqueue?

  /// The account of the key, once it is admitted.
  var account: String? { held.account }

  /// Whether the key may be in the body, so that the body must arrive first.
  var keyIsInBody: Bool { key == nil && dialect.hasKeyInBody }

  struct Labels {
    let contentType: [UInt8]?
    let contentEncoding: [UInt8]?
  }

  /// - Parameters:
  ///   - bytes: The unread input, which begins with the head.
  ///   - held: A reservation without any bytes yet.
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
      // An empty value comes from a variable that wasn't set. It doesn't distinguish payloads.
      idempotencyKey: head.first("idempotency-key", in: bytes).flatMap { range in
        range.isEmpty ? nil : bytes.extracting(range).withUnsafeBytes(Array.init)
      })
    let presented = PresentedKey.find(dialect.keys, in: head, bytes)
    if case .key(let id) = presented { key = id }
    withoutKey = presented == .tooLong ? .keyTooLong(limit: PresentedKey.limit) : .missingKey
  }

  /// Whether the part of the body that can contain a key has arrived.
  /// - Parameters:
  ///   - newest: The number of new bytes at the body's end.
  ///   - announced: The body's length; nil if unknown.
  func hasFirstLine(newest: Int, announced: Int?) -> Bool {
    let body = request.body
    // If the body has no line end, that part is the whole body.
    return body.readableBytes == announced
      || PresentedKey.hasFirstLine(body.readableBytesSpan, searched: body.readableBytes - newest)
  }

  /// Adds a part of the body.
  /// - Parameter isWhole: Whether the part is the whole body.
  func append(_ part: ByteBuffer, isWhole: Bool) {
    if request.body.readableBytes > 0 {
      request.body.writeImmutableBuffer(part)
    } else if isWhole || part.storageCapacity <= 4 * part.readableBytes {
      request.body = part
    } else {
      // The rest may arrive much later, and a few bytes mustn't keep the memory of the whole read.
      request.body = ByteBufferAllocator().buffer(buffer: part)
    }
  }
}

extension RequestHead {
  /// Maximum bytes of a Content-Type, Content-Encoding or traceparent that is kept: ten times what any client sends.
  static let longestLabel = 1 << 10

  /// The value of a header that is kept with the payload; nil if there is none, or if it is longer than any meaningful
  /// one. It is kept before the key is known to be active, so it must cost little.
  func label(_ name: FieldName, in bytes: RawSpan) -> Range<Int>? {
    guard let value = first(name, in: bytes), value.count <= Self.longestLabel else { return nil }
    return value
  }
}
