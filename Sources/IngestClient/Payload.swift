// A payload to be delivered. Its idempotency key is created with it and belongs to the value, not to the attempt or the
// call: a payload that is returned undelivered can be pushed again unchanged, and still can't become a second row.

internal import Bytes
public import NIOCore

extension IngestClient {
  /// Something to push.
  public struct Payload: Sendable, Equatable {
    /// Sent unchanged.
    public let body: ByteBuffer
    /// The value of `Content-Type`.
    public let contentType: String?
    /// The value of `Content-Encoding`; the body is sent unchanged.
    public let contentEncoding: String?
    /// The value of `traceparent`.
    public let traceparent: String?
    /// The value of `Idempotency-Key`, the same in all attempts: the gate derives the payload's ID from it.
    public let idempotencyKey: String

    /// - Parameters:
    ///   - body: Sent unchanged.
    ///   - contentType: The body's content type.
    ///   - contentEncoding: The compression of the body, if it is compressed already.
    ///   - traceparent: The payload's W3C trace context.
    ///   - idempotencyKey: 1 to 255 visible ASCII characters that no other payload of this API key has. By default 128
    ///     random bits.
    public init(
      _ body: ByteBuffer, contentType: String? = nil, contentEncoding: String? = nil, traceparent: String? = nil,
      idempotencyKey: String? = nil
    ) {
      self.body = body
      self.contentType = contentType
      self.contentEncoding = contentEncoding
      self.traceparent = traceparent
      self.idempotencyKey = idempotencyKey ?? Self.randomKey()
    }

    /// - Parameters:
    ///   - bytes: The body.
    ///   - contentType: The body's content type.
    ///   - idempotencyKey: 1 to 255 visible ASCII characters that no other payload of this API key has. By default 128
    ///     random bits.
    public init(_ bytes: some Sequence<UInt8>, contentType: String? = nil, idempotencyKey: String? = nil) {
      self.init(ByteBuffer(bytes: bytes), contentType: contentType, idempotencyKey: idempotencyKey)
    }

    private static func randomKey() -> String { UInt128.random(in: 0...UInt128.max).hexDigits() }

    /// The body's size in bytes.
    var size: Int { body.readableBytes }

    /// Why the payload can't be sent, as text; nil if it can. Checked before the payload is accepted, because no number
    /// of attempts would help.
    var flaw: String? {
      guard (1...255).contains(idempotencyKey.utf8.count),
        idempotencyKey.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
      else {
        return "expected an idempotency key of 1 to 255 visible ASCII characters"
      }
      let headers = [
        ("content type", contentType), ("content encoding", contentEncoding), ("traceparent", traceparent),
      ]
      for (name, value) in headers where !(value?.utf8.allSatisfy { (0x20...0x7E).contains($0) } ?? true) {
        return "expected a \(name) of printable ASCII characters"
      }
      return nil
    }
  }
}
