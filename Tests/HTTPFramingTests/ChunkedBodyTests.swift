import FramingOracle
import HTTPFraming
import Testing

@Suite struct ChunkedBodyTests {
  private static let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

  @Test(arguments: [
    ("0\r\n\r\n", ""), ("5\r\nhello\r\n0\r\n\r\n", "hello"), ("2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n", "hello"),
    ("A\r\n0123456789\r\n00a\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
    ("4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    ("0000000000000002\r\nab\r\n0\r\n\r\n", "ab"), ("1;a\r\nx\r\n0;b=c;d=\"e\\\"; \t\"\r\n\r\n", "x"),
    ("1 ; a = b ;\tc\t=\t\"d\" ;e ;f\r\nx\r\n0\r\n\r\n", "x"), ("1\r\nx\r\n0\r\nA: b\r\nc:\r\n\r\n", "x"),
  ])
  func `a body comes in chunks`(framed: String, body: String) {
    let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
    let transcript = reading(Self.head + framed + next)
    #expect(transcript.requests.map(\.bodyText) == [body, ""])
    #expect(transcript.requests.map(\.isWhole) == [true, true])
    #expect(transcript.requests.first?.fields.count == 2, "trailers are dropped")
  }

  @Test(
    arguments: [
      ("\r\n", .invalidChunkSize), ("g\r\n", .invalidChunkSize), ("0x1\r\n", .invalidChunkSize),
      (" 1\r\n", .invalidChunkSize),
      ("1 \r\n", .invalidChunkSize), ("1 1\r\n", .invalidChunkSize), ("+1\r\n", .invalidChunkSize),
      ("-1\r\n", .invalidChunkSize),
      ("1_0\r\n", .invalidChunkSize), (";a\r\n", .invalidChunkSize), ("00000000000000001\r\n", .invalidChunkSize),
      ("1\nx\r\n", .bareLineFeed), ("1\rx", .bareCarriageReturn), ("1\r\r\n", .bareCarriageReturn),
      ("1\r\nxy\r\n", .missingChunkEnd),
      ("1\r\nx\n", .missingChunkEnd), ("1\r\nx\rx", .missingChunkEnd), ("1\r\nx0\r\n\r\n", .missingChunkEnd),
      ("1;\r\n", .invalidChunkExtension), ("1;=a\r\n", .invalidChunkExtension), ("1;a=\r\n", .invalidChunkExtension),
      ("1;a \r\n", .invalidChunkExtension), ("1;a=b c\r\n", .invalidChunkExtension),
      ("1;a=\"b\r\n", .invalidChunkExtension),
      ("1;a=\"b\"c\r\n", .invalidChunkExtension), ("1;a\0\r\n", .invalidChunkExtension),
      ("1;a=\"\u{1}\"\r\n", .invalidChunkExtension),
      ("1;a\n", .bareLineFeed), ("1;a=\"\n", .bareLineFeed), ("1;a\rb", .bareCarriageReturn),
      ("1;a=\"\r\n\"\r\n", .invalidChunkExtension),
      ("0\r\nContent-Length: 1\r\n\r\n", .forbiddenTrailer),
      ("0\r\ntransfer-encoding: chunked\r\n\r\n", .forbiddenTrailer),
      ("0\r\nHost: h\r\n\r\n", .forbiddenTrailer), ("0\r\nExpect: x\r\n\r\n", .forbiddenTrailer),
      ("0\r\nConnection: close\r\n\r\n", .forbiddenTrailer), ("0\r\na\r\n\r\n", .missingColon),
      ("0\r\n a: b\r\n\r\n", .leadingWhitespace),
      ("0\r\na: b\r\n c\r\n\r\n", .foldedField), ("0\r\na: b\nc: d\r\n\r\n", .bareLineFeed),
      ("0\r\n\rX", .bareCarriageReturn),
      ("0\r\n\n", .bareLineFeed), ("ffffffffffffffff\r\n", .bodyTooLarge), ("8000000000000000\r\n", .bodyTooLarge),
      ("7fffffffffffffff\r\n", .bodyTooLarge),
    ] as [(String, ProtocolError)])
  func `chunks are framed exactly`(framed: String, expected: ProtocolError) {
    #expect(refusal(of: Self.head + framed) == expected)
  }

  @Test func `chunks together may be as large as the limit and no larger`() {
    let limits = RequestLimits(bodyBytes: 10)
    #expect(
      reading(Self.head + "5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n", limits: limits).requests.first?.isWhole == true)
    #expect(refusal(of: Self.head + "5\r\nhello\r\n6\r\nhello!\r\n0\r\n\r\n", limits: limits) == .bodyTooLarge)
    #expect(refusal(of: Self.head + "5\r\nhello\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", limits: limits) == .bodyTooLarge)
  }

  @Test func `extensions of all chunks together are bounded`() {
    let limits = RequestLimits(chunkExtensionBytes: 4)
    #expect(reading(Self.head + "1;a\r\nx\r\n1;b\r\nx\r\n0\r\n\r\n", limits: limits).requests.first?.isWhole == true)
    #expect(refusal(of: Self.head + "1;a\r\nx\r\n1;b\r\nx\r\n0;\r\n\r\n", limits: limits) == .chunkExtensionsTooLong)
    #expect(refusal(of: Self.head + "1;abcd\r\n", limits: limits) == .chunkExtensionsTooLong)
    #expect(refusal(of: Self.head + "1    ;a\r\n", limits: limits) == .chunkExtensionsTooLong)
  }

  @Test func `trailers are bounded`() {
    let limits = RequestLimits(fieldCount: 3, trailerBytes: 12)
    #expect(reading(Self.head + "0\r\na: b\r\nc: d\r\n\r\n", limits: limits).requests.first?.isWhole == true)
    #expect(refusal(of: Self.head + "0\r\na: b\r\nc: de\r\n\r\n", limits: limits) == .trailersTooLarge)
    #expect(refusal(of: Self.head + "0\r\na:\r\na:\r\na:\r\n\r\n", limits: limits) == nil)
    let few = RequestLimits(fieldCount: 2, trailerBytes: 40)
    #expect(refusal(of: Self.head + "0\r\na:\r\na:\r\na:\r\n\r\n", limits: few) == .trailersTooLarge)
  }
}
