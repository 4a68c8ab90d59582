import FramingOracle
import HTTPFraming
import Testing

@Suite struct FieldLineTests {
  @Test func `values lose the blanks around them and nothing else`() {
    let request = reading(
      .request("GET / HTTP/1.1", "Host:h", "a: b ", "B:\t c \t d\t ", "c:", "d: \t ", "X.y|z: é\u{80}:,\"\\")
    ).requests.first
    #expect(request?.fieldTexts == ["Host|h", "a|b", "B|c \t d", "c|", "d|", "X.y|z|é\u{80}:,\"\\"])
  }

  @Test(
    arguments: [
      ("a : b", .whitespaceBeforeColon), ("a\t: b", .whitespaceBeforeColon), ("a b: c", .whitespaceBeforeColon),
      (": b", .emptyFieldName), ("a", .missingColon), ("a\u{1}: b", .invalidFieldName), ("é: b", .invalidFieldName),
      ("a(b): c", .invalidFieldName), ("\0: b", .invalidFieldName), ("a: b\0c", .invalidFieldValue),
      ("a: \u{7f}", .invalidFieldValue),
      ("a: b\u{b}", .invalidFieldValue), ("a: \u{1b}[0m", .invalidFieldValue), ("a: b\rc", .bareCarriageReturn),
      ("a: b\r", .bareCarriageReturn), ("a: b\nc: d", .bareLineFeed), ("a:\nb: c", .bareLineFeed),
      ("a\nb: c", .bareLineFeed),
      ("\nb: c", .invalidFieldName), (" a: b", .foldedField), ("a: b\r\n c", .foldedField),
      ("a: b\r\n\tc", .foldedField),
      ("a:\r\n b", .foldedField), ("a: 01234567\u{1}", .invalidFieldValue),
      ("a: 0123456789abcde\u{7f}", .invalidFieldValue),
    ] as [(String, ProtocolError)])
  func `a header line is exactly one`(line: String, expected: ProtocolError) {
    #expect(
      refusal(of: .request("GET / HTTP/1.1", "Host: h", line)) == (line.hasPrefix("\n") ? .bareLineFeed : expected))
  }

  @Test func `whitespace before the first header line is refused by its own name`() {
    #expect(refusal(of: .request("GET / HTTP/1.1", " Host: h")) == .leadingWhitespace)
    #expect(refusal(of: .request("GET / HTTP/1.1", "\tHost: h")) == .leadingWhitespace)
  }

  @Test func `every control character but the tab is refused wherever it stands in a value`() {
    for byte in [UInt8](0...0x1F) + [0x7F] where byte != 0x09 {
      for length in 0..<18 {
        let value = [UInt8](repeating: 0xC3, count: length) + [byte] + [UInt8](repeating: 0x20, count: 9)
        let stream = Array("GET / HTTP/1.1\r\nHost: h\r\na: ".utf8) + value + Array("x\r\n\r\n".utf8)
        let refusal = Transcript(of: stream).refusal
        #expect(refusal == (byte == 0x0A ? .bareLineFeed : byte == 0x0D ? .bareCarriageReturn : .invalidFieldValue))
      }
    }
    for byte in [UInt8](0x20...0x7E) + [0x09] + [UInt8](0x80...0xFF) {
      let stream = Array("GET / HTTP/1.1\r\nHost: h\r\na: x".utf8) + [byte] + Array("x\r\n\r\n".utf8)
      #expect(Transcript(of: stream).requests.first?.fields.last?.value == [0x78, byte, 0x78])
    }
  }

  @Test func `every byte that is no token is refused in a name, and no other`() {
    let tokens = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
    for byte in UInt8.min...UInt8.max {
      let stream = Array("GET / HTTP/1.1\r\nHost: h\r\na".utf8) + [byte] + Array("b: c\r\n\r\n".utf8)
      let isTaken = Transcript(of: stream).requests.first?.isWhole == true
      // A colon ends the name, and what follows is its value.
      #expect(isTaken == (tokens.contains(byte) || byte == 0x3A), "byte \(byte)")
    }
  }

  @Test func `a header may be as large as the limits and no larger`() {
    let limits = RequestLimits(headerBytes: 40, fieldCount: 3)
    func header(_ bytes: Int) -> String {
      "GET / HTTP/1.1\r\nHost: h\r\na: \(String(repeating: "b", count: bytes - 14))\r\n\r\n"
    }
    #expect(reading(header(40), limits: limits).requests.first?.isWhole == true)
    #expect(refusal(of: header(41), limits: limits) == .headerTooLarge)
    #expect(refusal(of: header(42), limits: limits) == .headerTooLarge)
    #expect(refusal(of: .request("GET / HTTP/1.1", "Host: h", "a: b", "c: d"), limits: limits) == nil)
    #expect(refusal(of: .request("GET / HTTP/1.1", "Host: h", "a: b", "c: d", "e:"), limits: limits) == .tooManyFields)
    #expect(ProtocolError.headerTooLarge.status == 431)
    #expect(ProtocolError.tooManyFields.status == 431)
  }

  @Test func `fields are found by name in any case, the first of several`() {
    let head =
      "POST /p?q HTTP/1.1\r\nHost: h\r\nX-API-Key: one\r\nx-api-key: two\r\nx-api-keys: three\r\nQ: four\r\n\r\n"
    let bytes = Array(head.utf8)
    var connection = RequestConnection()
    let step = connection.next(bytes.span.bytes)
    #expect(step.length == bytes.count)
    func text(_ range: Range<Int>?) -> String? { range.map { String(decoding: bytes[$0], as: UTF8.self) } }
    #expect(text(connection.head.first("x-api-key", in: bytes.span.bytes)) == "one")
    #expect(text(connection.head.first("x-api-keys", in: bytes.span.bytes)) == "three")
    #expect(connection.head.first("x-api-kez", in: bytes.span.bytes) == nil)
    #expect(connection.head.first("x^api^key", in: bytes.span.bytes) == nil)
    #expect(text(connection.head.first("q", in: bytes.span.bytes)) == "four")
    #expect(connection.head.fieldCount == 5)
    #expect(text(connection.head.fieldName(at: 2)) == "x-api-key")
    #expect(text(connection.head.fieldValue(at: 2)) == "two")
    #expect(text(connection.head.methodName) == "POST")
    #expect(connection.head.method == .post)
    #expect(text(connection.head.target) == "/p?q")
  }
}
