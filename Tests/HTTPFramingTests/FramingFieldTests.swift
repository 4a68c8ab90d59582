import FramingOracle
import HTTPFraming
import Testing

@Suite struct FramingFieldTests {
  // MARK: Content-Length

  @Test(arguments: ["5", "05", "0000000000000000000000000000000005", "  5  "])
  func `a length is digits`(value: String) {
    let request = reading("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\(value)\r\n\r\nhelloGET").requests.first
    #expect(request?.bodyText == "hello")
    #expect(request?.isWhole == true)
  }

  @Test(arguments: [
    "+5", "-5", "-0", "0x5", "5 5", "5,5", "5, 5", "", " ", "5.", "5e0", "5_0", "\u{664}", "5\t", "5 \t", "\t5", " \t5",
    "5;", "abc",
    "５",
  ])
  func `a length that isn't plain digits is refused`(value: String) {
    #expect(refusal(of: .request("POST / HTTP/1.1", "Host: h", "Content-Length: \(value)")) == .invalidContentLength)
  }

  @Test func `a length is given once, even if it is the same`() {
    #expect(
      refusal(of: .request("POST / HTTP/1.1", "Host: h", "Content-Length: 5", "content-length: 5"))
        == .severalContentLengths)
    #expect(
      refusal(of: .request("POST / HTTP/1.1", "Host: h", "Content-Length: 5", "content-length: 6"))
        == .severalContentLengths)
  }

  @Test(arguments: [
    "11", "9223372036854775807", "9223372036854775808", "18446744073709551621", "99999999999999999999999999",
  ])
  func `a length over the limit is refused before any of the body is read`(length: String) {
    let limits = RequestLimits(bodyBytes: 10)
    #expect(
      refusal(of: .request("POST / HTTP/1.1", "Host: h", "Content-Length: \(length)"), limits: limits) == .bodyTooLarge)
    #expect(ProtocolError.bodyTooLarge.status == 413)
  }

  @Test func `a body may be as large as the limit`() {
    let limits = RequestLimits(bodyBytes: 10)
    let request = reading("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789", limits: limits).requests
      .first
    #expect(request?.isWhole == true)
  }

  @Test func `a request without a length has no body, whatever its method`() {
    let transcript = reading(
      "POST / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
    #expect(transcript.requests.map(\.bodyText) == ["", "ab"])
  }

  // MARK: Transfer-Encoding

  @Test(arguments: ["chunked", "Chunked", "CHUNKED", "  chunked "])
  func `chunked is chunked in any case`(value: String) {
    let request = reading("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\(value)\r\n\r\n2\r\nab\r\n0\r\n\r\n")
      .requests.first
    #expect(request?.bodyText == "ab")
  }

  @Test(
    arguments: [
      (["gzip, chunked"], .unknownTransferCoding), (["gzip", "chunked"], .unknownTransferCoding),
      (["identity, chunked"], .unknownTransferCoding), ([", chunked"], .unknownTransferCoding),
      (["gzip"], .malformedTransferEncoding),
      (["identity"], .malformedTransferEncoding), (["chunked, gzip"], .malformedTransferEncoding),
      (["chunked", "identity"], .malformedTransferEncoding), (["chunked, chunked"], .malformedTransferEncoding),
      (["chunked", "chunked"], .malformedTransferEncoding), (["chunked;a=b"], .malformedTransferEncoding),
      ([""], .malformedTransferEncoding), (["chunked,"], .malformedTransferEncoding),
      (["xchunked"], .malformedTransferEncoding),
      (["chunked\t"], .malformedTransferEncoding), (["chunked \t "], .malformedTransferEncoding),
      (["\tchunked"], .malformedTransferEncoding), ([" \tchunked"], .malformedTransferEncoding),
      (["chunked x"], .malformedTransferEncoding), (["\"chunked\""], .malformedTransferEncoding),
      (["chunke"], .malformedTransferEncoding), (["gzip;a=\", chunked\""], .malformedTransferEncoding),
    ] as [([String], ProtocolError)])
  func `any other transfer coding is refused`(values: [String], expected: ProtocolError) {
    let fields = values.map { "Transfer-Encoding: \($0)\r\n" }.joined()
    #expect(refusal(of: "POST / HTTP/1.1\r\nHost: h\r\n\(fields)\r\n0\r\n\r\n") == expected)
    #expect(ProtocolError.unknownTransferCoding.status == 501)
    #expect(ProtocolError.malformedTransferEncoding.status == 400)
  }

  @Test func `a length and a coding together are refused in either order`() {
    let length = "Content-Length: 5"
    let coding = "Transfer-Encoding: chunked"
    #expect(refusal(of: .request("POST / HTTP/1.1", "Host: h", length, coding)) == .lengthAndEncoding)
    #expect(refusal(of: .request("POST / HTTP/1.1", "Host: h", coding, length)) == .lengthAndEncoding)
  }

  @Test func `HTTP 1.0 has no transfer coding`() {
    #expect(refusal(of: .request("POST / HTTP/1.0", "Transfer-Encoding: chunked")) == .encodingInHTTP10)
    #expect(
      refusal(of: .request("POST / HTTP/1.0", "Content-Length: 0", "Transfer-Encoding: chunked")) == .encodingInHTTP10)
  }

  // MARK: Host

  @Test(arguments: [
    "h", "example.com", "example.com:80", "example.com:", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:443", "a%20b",
    "0.0.0.0=5000",
    "a_b~c!$&'()*+,;=", "[::ffff:1.2.3.4]",
  ])
  func `a host is a name or an address, with or without a port`(host: String) {
    #expect(reading(.request("GET / HTTP/1.1", "Host: \(host)")).requests.first?.isWhole == true)
  }

  @Test(arguments: [
    "", ":80", "a b", "a/b", "a@b", "a:b", "a:65536", "a:80:90", "a:-1", "[::1", "[]", "[:]", "[g::]", "::1", "[::1]a",
    "[fe80::1%25eth0]",
    "[v1.a]", "a%2", "a%zz", "http://a", "a?b", "a#b", "a\\b", "é", "a<b", "a,\tb",
  ])
  func `anything else is no host`(host: String) {
    #expect(refusal(of: .request("GET / HTTP/1.1", "Host: \(host)")) == .invalidHost)
  }

  @Test func `HTTP 1.1 needs one host, HTTP 1.0 at most one`() {
    #expect(refusal(of: .request("GET / HTTP/1.1")) == .missingHost)
    #expect(refusal(of: .request("GET http://h/ HTTP/1.1")) == .missingHost)
    #expect(refusal(of: .request("GET / HTTP/1.1", "Host: h", "host: h")) == .severalHosts)
    #expect(refusal(of: .request("GET / HTTP/1.0", "Host: h", "Host: i")) == .severalHosts)
    #expect(refusal(of: .request("GET / HTTP/1.0")) == nil)
    #expect(refusal(of: .request("GET / HTTP/1.0", "Host: a b")) == .invalidHost)
  }

  // MARK: Connection

  @Test(
    arguments: [
      ("1.1", [], .open), ("1.1", ["keep-alive"], .open), ("1.1", ["close"], .close), ("1.1", ["Close"], .close),
      ("1.1", ["a , CLOSE,b"], .close), ("1.1", ["a", "close"], .close), ("1.1", ["keep-alive, close"], .close),
      ("1.1", ["closed"], .open), ("1.1", ["\"close\""], .open), ("1.1", [""], .open), ("1.0", [], .close),
      ("1.0", ["keep-alive"], .keepAlive), ("1.0", ["Keep-Alive"], .keepAlive), ("1.0", ["close, keep-alive"], .close),
      ("1.0", ["x"], .close),
    ] as [(String, [String], ResponseFraming.Persistence)])
  func `who wants the connection to go on says so by version and field`(
    version: String, values: [String], expected: ResponseFraming.Persistence
  ) {
    let fields = values.map { "Connection: \($0)\r\n" }.joined()
    let transcript = reading("GET /a HTTP/\(version)\r\nHost: h\r\n\(fields)\r\n", ends: true)
    #expect(transcript.events.contains(.answered(framing(expected))))
    #expect(transcript.events.contains(.outputClosed) == (expected == .close))
  }

  private func framing(_ persistence: ResponseFraming.Persistence) -> ResponseFraming {
    // The initialiser is the machine's own; the transcript of a request that asks for it has one.
    let fields =
      switch persistence {
      case .open: "HTTP/1.1\r\nHost: h"
      case .keepAlive: "HTTP/1.0\r\nConnection: keep-alive"
      case .close: "HTTP/1.0"
      }
    let events = Transcript(of: Array("GET / \(fields)\r\n\r\n".utf8)).events
    for case .answered(let framing) in events where framing.persistence == persistence { return framing }
    fatalError("the plainest requests of each kind are answered otherwise: \(events)")  // Nothing can be tested then.
  }

  // MARK: Expect

  @Test func `a client that waits for it is invited to send its body, once`() {
    let transcript = reading(
      "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nabPOST / HTTP/1.1\r\nHost: h\r\n"
        + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    #expect(transcript.events.count { $0 == .goOn } == 2)
    #expect(transcript.events[1] == .goOn)
    #expect(transcript.requests.map(\.isWhole) == [true, true])
  }

  @Test(arguments: [
    "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
  ])
  func `nobody is invited who has nothing to send or speaks HTTP 1.0`(stream: String) {
    let transcript = reading(stream)
    #expect(!transcript.events.contains(.goOn))
    #expect(transcript.requests.first?.isWhole == true)
  }

  @Test(arguments: ["200-ok", "100-continue, x", "", "100-continue;a", "100-continue, 100-continue"])
  func `other expectations can't be met`(value: String) {
    #expect(refusal(of: .request("POST / HTTP/1.1", "Host: h", "Expect: \(value)")) == .unknownExpectation)
    #expect(ProtocolError.unknownExpectation.status == 417)
  }
}
