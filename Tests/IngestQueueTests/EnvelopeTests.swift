import Foundation
import IngestQueue
import NIOCore
import QueueFixture
import RedisFixture
import Testing

struct EnvelopeTests {
  @Test func `an envelope reads back as it was written, whatever its texts and its payload hold`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<500 {
      let header = EnvelopeHeader.random(using: &generator)
      let payload = (0..<Int.random(in: 0..<200, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      let bytes = header.encoded + payload
      let envelope = try Envelope(bytes)
      #expect(envelope.header == header)
      #expect(Array(envelope.payload) == payload)
    }
  }

  @Test func `Foundation reads the same from the line as was written`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<500 {
      let header = EnvelopeHeader.random(using: &generator)
      let line = header.encoded
      #expect(line.last == UInt8(ascii: "\n"))
      #expect(line.dropLast().allSatisfy { $0 >= 0x20 }, "the payload begins after the first newline")
      let object = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
      #expect(object["id"] as? String == header.id.description)
      #expect(object["account"] as? String == header.account)
      #expect(object["key"] as? String == header.key)
      #expect(object["received_at"] as? Int64 == header.receivedAt)
      #expect(object["content_type"] as? String == header.contentType)
      #expect(object["content_encoding"] as? String == header.contentEncoding)
      #expect(object["path"] as? String == header.path)
      #expect(object["node"] as? String == header.node)
      #expect(object["traceparent"] as? String == header.traceparent)
    }
  }

  @Test func `the id stands where the scripts cut it out`() {
    var generator = SeededGenerator.announced()
    let header = EnvelopeHeader.random(using: &generator)
    #expect(String(decoding: header.encoded[7..<43], as: UTF8.self) == header.id.description)
  }

  @Test func `bytes of a header that are no UTF-8 are written as the replacement character`() throws {
    var header = EnvelopeHeader.plain
    header.contentType = String(decoding: [0x61, 0xFF, 0x62, 0xC3], as: UTF8.self)
    #expect(try Envelope(header.encoded).header.contentType == "a\u{FFFD}b\u{FFFD}")
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(header.encoded)) }
  }

  @Test func `the line that a node writes is the header's, byte for byte`() throws {
    var generator = SeededGenerator.announced()
    for _ in 0..<500 {
      var header = EnvelopeHeader.random(using: &generator)
      let key = (generator.next(), generator.next(), generator.next() & 0xFF, UInt64.max - generator.next() & 0xFFFF)
      header.key = [key.0, key.1, key.2, key.3].map { word in
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
      }.joined()
      #expect(Self.line(header, key: key) == header.encoded)
    }
  }

  @Test func `what isn't UTF-8 in a request becomes the replacement character in the line`() throws {
    let bytes: [UInt8] = [0x2F, 0xFF, 0x61, 0xC3, 0x22]
    let members = RequestMembers(of: bytes.span.bytes, path: 0..<5, contentType: 1..<2)
    #expect(members.text == ##","content_type":"\##u{FFFD}","path":"/\##u{FFFD}a\##u{FFFD}\"""##)
  }

  /// As a node would write it whose request says what the header says.
  private static func line(_ header: EnvelopeHeader, key: (UInt64, UInt64, UInt64, UInt64)) -> [UInt8] {
    var request: [UInt8] = []
    func place(_ text: String?) -> Range<Int>? {
      guard let text else { return nil }
      defer { request += text.utf8 }
      return request.count..<request.count + text.utf8.count
    }
    let path = place(header.path) ?? 0..<0
    let (type, encoding, traceparent) = (
      place(header.contentType), place(header.contentEncoding), place(header.traceparent)
    )
    var buffer = ByteBuffer()
    buffer.writeEnvelopeLine(
      id: header.id, account: header.account, key: key, receivedAt: header.receivedAt,
      request: RequestMembers(
        of: request.span.bytes, path: path, contentType: type, contentEncoding: encoding, traceparent: traceparent),
      node: NodeMember(header.node))
    return Array(buffer.readableBytesView)
  }

  @Test func `every escape of JSON is understood`() throws {
    let line = Self.line(path: #""\"\\\/\b\f\n\r\té𝄞 é""#)
    #expect(try Envelope(line).header.path == "\"\\/\u{8}\u{C}\n\r\té𝄞 é")
  }

  @Test func `fields that a newer node adds are passed over whatever they hold`() throws {
    let extra = #""new":[{"a":[1,-2.5e3,true],"b":{}},[],"x",null],"other":false,"third":1.5,"#
    let line = Self.line(path: #""/p""#, extra: extra)
    #expect(try Envelope(line).header.path == "/p")
  }

  @Test(arguments: [
    ("", "no newline"),
    ("{}", "no newline"),
    ("{}\n", "a UUID at its very beginning"),
    (#"{"account":"a","id":"0197a2c4-0000-7000-8000-000000000000"}"# + "\n", "a UUID at its very beginning"),
    (#"{"id":"0197a2c4-0000-7000-8000-00000000000","account":"a"}"# + "\n", "a UUID at its very beginning"),
    (#"{"id":"0197a2c4-0000-7000-8000-000000000000","# + "\n", "expected \" before a text"),
    (#"{"id":"0197a2c4-0000-7000-8000-000000000000"}"# + "\n", "the field account isn't there"),
  ])
  func `what is no envelope is refused in words`(bytes: String, reason: String) {
    let error = #expect(throws: InvalidEnvelope.self) { try Envelope(Array(bytes.utf8)) }
    #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
  }

  @Test(arguments: [
    (#""\uD834""#, "surrogate"), (#""\uDD1E""#, "surrogate"), (#""\uD834\u0041""#, "surrogate"),
    (#""\u00g0""#, "hexadecimal"), (#""\x""#, "escape"), ("\"a\tb\"", "control character"), ("1", "before a text"),
    (#""no end"#, "isn't closed"), (#""/p""# + #","path":"/p""#, "twice"), (#""/p""# + #","id":"x""#, "twice"),
    (#""/p"]"#, "expected , or }"), (#""/p","new":tru"#, "expected a value"),
    (#""/p","new":[1"#, "expected , or the end"), (#""/p","new":{"a" 1}"#, "expected :"),
    (#""/p","new":"# + String(repeating: "[", count: 17), "deeper"),
    (#""/p"}x{"#, "line's end"),
  ])
  func `a line that isn't JSON or says a thing twice is refused in words`(path: String, reason: String) {
    let error = #expect(throws: InvalidEnvelope.self) { try Envelope(Self.line(path: path)) }
    #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
  }

  @Test(arguments: [#""1790000000000""#, "1.5", "1e3", "-", "99999999999999999999", "null"])
  func `a time that is no whole number is refused`(time: String) {
    #expect(throws: InvalidEnvelope.self) { try Envelope(Self.line(path: #""/p""#, time: time)) }
  }

  @Test func `a text that is no UTF-8 is refused`() {
    var line = Self.line(path: #""/p""#)
    line[line.firstIndex(of: UInt8(ascii: "p"))!] = 0xFF
    #expect(throws: InvalidEnvelope.self) { try Envelope(line) }
  }

  @Test func `no line cut short or with one byte changed makes the reader do anything but read or refuse`() {
    var generator = SeededGenerator.announced()
    for _ in 0..<2_000 {
      var bytes = EnvelopeHeader.random(using: &generator).encoded
      bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      bytes.removeLast(Int.random(in: 0...2, using: &generator))
      _ = try? Envelope(bytes)
    }
  }

  /// A whole line with these values in JSON.
  private static func line(path: String, time: String = "1790000000000", extra: String = "") -> [UInt8] {
    let start = #"{"id":"0197a2c4-0000-7000-8000-000000000000",\#(extra)"account":"a","key":"0123456789abcdef","#
    return Array((start + #""received_at":\#(time),"node":"n","path":\#(path)}"# + "\n").utf8)
  }
}
