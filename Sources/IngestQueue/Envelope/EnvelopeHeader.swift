// The header of a payload: the line of JSON before it in the queue:
//
//     {"id":"0197a2c4-…","account":"acme","key":"9f86d081884c7d65…","received_at":1790000000000,…}
//     <payload, byte for byte>
//
// It is JSON, so that a worker in any language can read it. The payload after it is unchanged, which saves the cost of
// base64. The ID is first and has a fixed length, so that a Lua script can cut it out by position. `received_at` is a
// number of milliseconds: it sorts, needs no parser, and has one spelling. Fields that weren't sent are absent, not
// null.
//
// A node writes a header for every accepted request, with its own code (EnvelopeLine). A header is immutable: the
// number of tries is kept beside the queue, not in the header.

public import NIOCore

/// The header of a payload.
public struct EnvelopeHeader: Sendable, Equatable {
  public var id: EnvelopeID
  /// The account of the API key.
  public var account: String
  /// The API key's ID, with all 64 hexadecimal digits: a worker can prove a revocation only for the whole ID. It is the
  /// SHA-256 of a secret that can't be guessed.
  public var key: String
  /// When the request was read, in milliseconds since 1970.
  public var receivedAt: Int64
  /// The request's Content-Type, unchanged; nil if there was none.
  public var contentType: String?
  /// The request's Content-Encoding, unchanged; nil if there was none. It is often wrong: see the worker's decoding.
  public var contentEncoding: String?
  /// The request's path without its query (which may hold the API key).
  public var path: String
  /// The name of the node that accepted it.
  public var node: String
  /// The W3C trace context of the request.
  public var traceparent: String?

  public init(
    id: EnvelopeID, account: String, key: String, receivedAt: Int64, contentType: String? = nil,
    contentEncoding: String? = nil, path: String, node: String, traceparent: String? = nil
  ) {
    self.id = id
    self.account = account
    self.key = key
    self.receivedAt = receivedAt
    self.contentType = contentType
    self.contentEncoding = contentEncoding
    self.path = path
    self.node = node
    self.traceparent = traceparent
  }

  /// Maximum length of the line, in bytes. A request's head is much shorter.
  public static let longestLine = 64 << 10

  /// Appends the line, its newline included.
  public func write(to buffer: inout ByteBuffer) {
    buffer.writeStaticString(#"{"id":""#)
    buffer.writeText(of: id)
    buffer.writeStaticString(#"","account":"#)
    buffer.writeJSON(account)
    buffer.writeStaticString(#","key":"#)
    buffer.writeJSON(key)
    buffer.writeStaticString(#","received_at":"#)
    buffer.writeDecimal(receivedAt)
    if let contentType {
      buffer.writeStaticString(#","content_type":"#)
      buffer.writeJSON(contentType)
    }
    if let contentEncoding {
      buffer.writeStaticString(#","content_encoding":"#)
      buffer.writeJSON(contentEncoding)
    }
    buffer.writeStaticString(#","path":"#)
    buffer.writeJSON(path)
    if let traceparent {
      buffer.writeStaticString(#","traceparent":"#)
      buffer.writeJSON(traceparent)
    }
    buffer.writeStaticString(#","node":"#)
    buffer.writeJSON(node)
    buffer.writeStaticString("}\n")
  }
}
