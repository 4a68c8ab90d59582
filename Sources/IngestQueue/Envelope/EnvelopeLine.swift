// The line before a payload, as a node writes it for each push: from bytes to bytes, in one go, with no string and no object for any of its
// parts. What it says is `EnvelopeHeader`'s to know; what differs is the price. A header of strings costs an allocation for
// most of them and a look at the buffer for each piece written, which together was a fifth of all that a node did for a push.
//
// What comes from the request is written when the head has come, since its bytes are gone when the body has; the rest when the payload is
// handed over.

internal import Bytes
package import NIOCore

/// What a request says of itself, as members of the line.
public struct RequestMembers: Sendable, Equatable {
  /// Each with a comma before it.
  let json: [UInt8]

  /// - Parameters:
  ///   - bytes: What the ranges are in. Bytes that aren't UTF-8 are replaced by U+FFFD.
  ///   - path: Of the request, without its query (which may hold the API key).
  ///   - contentType: As it came; nil where none did, as for the rest.
  ///   - contentEncoding: As it came.
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

  /// For people.
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
  /// Appends the line for a push, its newline included.
  /// - Parameters:
  ///   - id: The payload's.
  ///   - account: Whose API key it was.
  ///   - key: The API key's id.
  ///   - receivedAt: Milliseconds since 1970.
  ///   - request: What the request says.
  ///   - node: Who writes it.
  package mutating func writeEnvelopeLine(
    id: EnvelopeID, account: String, key: (UInt64, UInt64, UInt64, UInt64), receivedAt: Int64,
    request: RequestMembers, node: NodeMember
  ) {
    var account = account
    account.withUTF8 { account in
      // All that is fixed is less than 256 bytes.
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
