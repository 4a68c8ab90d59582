// A payload as one line of JSON, for files and for receivers of many payloads at a time:
//
//     {"id":"0197a2c4-…","account":"acme","key_id":"9f86d081…","received_at":1790000000000,…,"body":"…"}
//
// The names are those of the columns in databases. A body in UTF-8 is in `body`, byte for byte once JSON's escapes are
// undone. Any other body is in `body_base64`. So is a body that consists mostly of control characters, which JSON
// writes with six characters each. Fields that weren't sent are absent. The ID is first and has a fixed length, so that
// it is read without a parser.

internal import Foundation
internal import IngestQueue
internal import NIOCore

struct PayloadLine {
  private let delivery: Delivery

  init(_ delivery: Delivery) { self.delivery = delivery }

  /// The beginning of each line, before the ID.
  static let opening: StaticString = #"{"id":""#

  /// The length of the part that is read without a parser: the beginning and the ID.
  static let headLength = opening.utf8CodeUnitCount + EnvelopeID.textLength

  /// The ID of a line that has this beginning; nil if it isn't such a line.
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

  /// Maximum bytes of a line with a body of this length: a text that consists only of quotes becomes twice as long.
  static func most(_ count: Int) -> Int { 2 * count + 1_024 }

  private func write(_ opening: StaticString, _ text: String?, to buffer: inout ByteBuffer) {
    guard let text else { return }
    buffer.writeStaticString(opening)
    buffer.writeJSON(text)
  }
}
