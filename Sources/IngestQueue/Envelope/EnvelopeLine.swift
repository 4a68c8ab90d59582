// Writes the line before a payload, for each push: from bytes to bytes, without a string or an object for any of its
// parts. `EnvelopeHeader` documents the content; this code writes the same line at a lower cost. A header of strings
// costs an allocation for most strings and a check of the buffer for each written piece: together a fifth of a node's
// work for a push.
//
// The request's part is written when the head has arrived, because the head's bytes are gone when the body has arrived.
// The other parts are written when the payload is enqueued.

internal import Bytes
package import NIOCore

/// The request's own fields, as members of the line.
public struct RequestMembers: Sendable, Equatable {
  /// Each with a comma before it.
  let json: [UInt8]

  /// - Parameters:
  ///   - bytes: The bytes that the ranges refer to. Invalid UTF-8 is replaced by U+FFFD.
  ///   - path: The request's path, without its query (which may contain the API key).
  ///   - contentType: Unchanged; nil if there was none. So are the others.
  ///   - contentEncoding: Unchanged.
  ///   - traceparent: The W3C trace context.
  public init(
    of bytes: RawSpan, path: Range<Int>, contentType: Range<Int>? = nil, contentEncoding: Range<Int>? = nil,
    traceparent: Range<Int>? = nil
  ) {
    var json: [UInt8] = []
    json.reserveCapacity(
      100 + path.count + (contentType?.count ?? 0) + (contentEncoding?.count ?? 0) + (traceparent?.count ?? 0))
    Self.add(#","content_type":"#, contentType, of: bytes, to: &json)
    Self.add(#","content_encoding":"#, contentEncoding, of: bytes, to: &json)
    Self.add(#","path":"#, path, of: bytes, to: &json)
    Self.add(#","traceparent":"#, traceparent, of: bytes, to: &json)
    self.json = json
  }

  private static func add(_ name: StaticString, _ value: Range<Int>?, of bytes: RawSpan, to json: inout [UInt8]) {
    guard let value else { return }
    json.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    bytes.extracting(value).withUnsafeBytes { JSONText.append($0, to: &json) }
  }

  /// As text for people.
  public var text: String { String(decoding: json, as: UTF8.self) }
}

/// A node's name, as a member of the line.
public struct NodeMember: Sendable {
  /// With a comma before it.
  let json: [UInt8]

  public init(_ name: String) {
    var json = Array(#","node":"#.utf8)
    JSONText.append(name, to: &json)
    self.json = json
  }
}

extension ByteBuffer {
  /// Appends the line for a push, including its newline.
  /// - Parameters:
  ///   - id: The payload's ID.
  ///   - account: The account of the API key.
  ///   - key: The API key's ID.
  ///   - receivedAt: Milliseconds since 1970.
  ///   - request: The request's own fields.
  ///   - node: The node's name.
  package mutating func writeEnvelopeLine(
    id: EnvelopeID, account: String, key: (UInt64, UInt64, UInt64, UInt64), receivedAt: Int64,
    request: RequestMembers, node: NodeMember
  ) {
    var account = account
    account.withUTF8 { account in
      // All fixed parts are less than 256 bytes.
      let most = 256 + JSONText.longest(account.count) + request.json.count + node.json.count
      writeWithUnsafeMutableBytes(minimumWritableBytes: most) { room in
        var line = RawBufferWriter(room)
        line.write(#"{"id":""#)
        line.write(id)
        line.write(#"","account":"#)
        line.write(text: UnsafeRawBufferPointer(account))
        line.write(#","key":""#)
        line.write(hexadecimal: key.0)
        line.write(hexadecimal: key.1)
        line.write(hexadecimal: key.2)
        line.write(hexadecimal: key.3)
        line.write(#"","received_at":"#)
        line.write(decimal: receivedAt)
        request.json.withUnsafeBytes { line.write($0) }
        node.json.withUnsafeBytes { line.write($0) }
        line.write("}\n")
        return line.count
      }
    }
  }
}
