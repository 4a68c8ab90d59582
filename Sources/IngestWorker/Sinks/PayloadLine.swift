// A payload as one line of JSON, for files and for receivers that take many at a time:
//
//     {"id":"0197a2c4-…","account":"acme","key_id":"9f86d081…","received_at":1790000000000,…,"body":"…"}⏎
//
// The names are those of the columns elsewhere. A body that is UTF-8 is there as text, byte for byte once JSON's escapes are undone;
// any other as `body_base64`, and so is one that is mostly control characters, which JSON writes with six characters each. What wasn't sent is left out. The id comes first and has one length, so that it is read without a parser.

internal import Foundation
internal import IngestQueue
internal import NIOCore

struct PayloadLine {
  private let delivery: Delivery

  init(_ delivery: Delivery) { self.delivery = delivery }

  /// What each line begins with, before the id.
  static let opening: StaticString = #"{"id":""#

  /// Of what is read without a parser: the opening and the id.
  static let headLength = opening.utf8CodeUnitCount + EnvelopeID.textLength

  /// The id of a line that begins like this; nil where it isn't such a line.
  static func id(in head: [UInt8]) -> EnvelopeID? {
    head.count >= headLength ? EnvelopeID(head[opening.utf8CodeUnitCount..<headLength]) : nil
  }

  /// Appends the line, its newline included.
  func write(to buffer: inout ByteBuffer) {
    let header = delivery.header
    buffer.writeStaticString(Self.opening)
    header.id.withText { _ = buffer.writeBytes($0) }
    buffer.writeStaticString(#"","account":"#)
    buffer.writeJSON(header.account)
    buffer.writeStaticString(#","key_id":"#)
    buffer.writeJSON(header.key)
    buffer.writeStaticString(#","received_at":"#)
    buffer.writeDecimal(header.receivedAt)
    write(#","content_type":"#, header.contentType, to: &buffer)
    write(#","content_encoding":"#, header.contentEncoding, to: &buffer)
    write(#","undone":"#, delivery.body.undone, to: &buffer)
    buffer.writeStaticString(#","path":"#)
    buffer.writeJSON(header.path)
    buffer.writeStaticString(#","node":"#)
    buffer.writeJSON(header.node)
    write(#","traceparent":"#, header.traceparent, to: &buffer)
    if let text = String(validating: delivery.body.bytes, as: UTF8.self),
      ByteBuffer.jsonSize(text) <= Self.most(delivery.body.bytes.count)
    {
      buffer.writeStaticString(#","body":"#)
      buffer.writeJSON(text)
    } else {
      buffer.writeStaticString(#","body_base64":""#)
      buffer.writeBytes(Data(delivery.body.bytes).base64EncodedData())
      buffer.writeStaticString("\"")
    }
    buffer.writeStaticString("}\n")
  }

  /// Bytes that a body of so many takes in a line: text of nothing but quotes is twice as long.
  static func most(_ count: Int) -> Int { 2 * count + 1_024 }

  private func write(_ opening: StaticString, _ text: String?, to buffer: inout ByteBuffer) {
    guard let text else { return }
    buffer.writeStaticString(opening)
    buffer.writeJSON(text)
  }
}
