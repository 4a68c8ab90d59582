// One thing to be delivered. Its idempotency key is made with it and goes along with the value, not with the attempt or
// the call: a payload that comes back undelivered can be pushed again as it is, and still can't become a second row.

public import NIOCore

extension IngestClient {
  /// Something to push.
  public struct Payload: Sendable, Equatable {
    /// Sent as it is.
    public let body: ByteBuffer
    /// Goes into `Content-Type`.
    public let contentType: String?
    /// Goes into `Content-Encoding`; the body is sent as it is.
    public let contentEncoding: String?
    /// Goes into `traceparent`.
    public let traceparent: String?
    /// Goes into `Idempotency-Key`, the same in all attempts: the gate makes the payload's id of it.
    public let idempotencyKey: String

    /// - Parameters:
    ///   - body: Sent as it is.
    ///   - contentType: Of the body.
    ///   - contentEncoding: How the body is compressed already, if it is.
    ///   - traceparent: A W3C trace context that the payload belongs to.
    ///   - idempotencyKey: 1 to 255 visible ASCII characters that no other payload of this API key has. By default 128 random
    ///     bits.
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
    ///   - contentType: Of the body.
    ///   - idempotencyKey: 1 to 255 visible ASCII characters that no other payload of this API key has. By default 128 random
    ///     bits.
    public init(_ bytes: some Sequence<UInt8>, contentType: String? = nil, idempotencyKey: String? = nil) {
      self.init(ByteBuffer(bytes: bytes), contentType: contentType, idempotencyKey: idempotencyKey)
    }

    private static func randomKey() -> String {
      let digits = String(UInt128.random(in: 0...UInt128.max), radix: 16)
      return String(repeating: "0", count: 32 - digits.count) + digits
    }

    /// In bytes.
    var size: Int { body.readableBytes }

    /// What can't be sent in a header, in words; nil if all can. Looked at before the payload is taken, because no
    /// number of attempts would help it.
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
