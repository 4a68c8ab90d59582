import FramingOracle
import HTTPFraming
import Testing

@Suite struct RequestLineTests {
  @Test(
    arguments: [
      ("/", "/", nil), ("/v1/push", "/v1/push", nil), ("/a?b=c&d", "/a", "b=c&d"), ("/?", "/", ""),
      ("/a?b?c", "/a", "b?c"),
      ("//a//", "//a//", nil), ("/%zz\"<>\\^`{|}", "/%zz\"<>\\^`{|}", nil), ("http://h", "/", nil),
      ("http://h/", "/", nil),
      ("http://h:8080/a?b", "/a", "b"), ("http://h?b/c", "/", "b/c"), ("HTTPS://[::1]:443/a", "/a", nil),
      ("http://a%20b/c", "/c", nil),
    ] as [(String, String, String?)])
  func `a target is split into path and query`(target: String, path: String, query: String?) {
    let transcript = reading(.request("GET \(target) HTTP/1.1", "Host: h"))
    let request = transcript.requests.first
    #expect(request?.targetText == target)
    #expect(request?.pathText == path)
    #expect(request?.queryText == query)
    #expect(request?.isWhole == true)
  }

  @Test func `OPTIONS may ask about the server as a whole`() {
    let request = reading(.request("OPTIONS * HTTP/1.1", "Host: h")).requests.first
    #expect(request?.pathText == "*")
  }

  @Test(arguments: ["GET", "BREW", "M-SEARCH", "get", "!#$%&'*+-.^_`|~09azAZ", "X"])
  func `any token is a method, and keeps its case`(method: String) {
    #expect(reading(.request("\(method) / HTTP/1.1", "Host: h")).requests.first?.methodText == method)
  }

  @Test(
    arguments: [
      ("GET / HTTP/2.0", .unsupportedVersion), ("GET / HTTP/1.2", .unsupportedVersion),
      ("GET / HTTP/0.9", .unsupportedVersion),
      ("GET / HTTP/3.1", .unsupportedVersion), ("GET / http/1.1", .malformedVersion),
      ("GET / Http/1.1", .malformedVersion),
      ("GET / HTTP/1.1 ", .malformedVersion), ("GET / HTTP/1.10", .malformedVersion),
      ("GET / HTTP/11.1", .malformedVersion),
      ("GET / HTTP/1,1", .malformedVersion), ("GET / HTTP/1.", .malformedVersion), ("GET / HTTP/", .malformedVersion),
      ("GET / FTP/1.1", .malformedVersion), ("GET /  HTTP/1.1", .malformedVersion),
      ("GET / HTTP /1.1", .malformedVersion),
      ("GET /\tHTTP/1.1", .invalidTarget), ("GET  / HTTP/1.1", .malformedRequestLine), ("GET /", .malformedRequestLine),
      ("GET", .malformedRequestLine), (" GET / HTTP/1.1", .malformedRequestLine), ("GET\t/ HTTP/1.1", .invalidMethod),
      ("G@T / HTTP/1.1", .invalidMethod), ("GET: / HTTP/1.1", .invalidMethod), ("GÉT / HTTP/1.1", .invalidMethod),
      ("G\0T / HTTP/1.1", .invalidMethod), ("GET /\0 HTTP/1.1", .invalidTarget), ("GET /é HTTP/1.1", .invalidTarget),
      ("GET /a#b HTTP/1.1", .invalidTarget), ("GET /\u{7f} HTTP/1.1", .invalidTarget), ("GET * HTTP/1.1", .unfitTarget),
      ("GET a/b HTTP/1.1", .unfitTarget), ("GET h:80 HTTP/1.1", .unfitTarget), ("OPTIONS *a HTTP/1.1", .unfitTarget),
      ("GET ?a HTTP/1.1", .unfitTarget), ("GET ftp://h/ HTTP/1.1", .unfitTarget),
      ("GET http:/h HTTP/1.1", .unfitTarget),
      ("GET http:// HTTP/1.1", .unfitTarget), ("GET http:///a HTTP/1.1", .invalidTarget),
      ("GET http://u@h/ HTTP/1.1", .invalidTarget), ("GET http://h:x/ HTTP/1.1", .invalidTarget),
      ("GET http://?a HTTP/1.1", .invalidTarget), ("CONNECT h:443 HTTP/1.1", .connectMethod),
      ("CONNECT / HTTP/1.1", .connectMethod), ("GET / HTTP/1.1\rX", .bareCarriageReturn),
      ("GET / HTTP/1.1\nX", .bareLineFeed),
      ("GET\n/ HTTP/1.1", .bareLineFeed), ("GET /\nHTTP/1.1", .bareLineFeed),
    ] as [(String, ProtocolError)])
  func `a request line is exactly one`(line: String, expected: ProtocolError) {
    #expect(refusal(of: .request(line, "Host: h")) == expected)
  }

  @Test func `one empty line may stand before a request, and before the next one`() {
    let request = String.request("GET /a HTTP/1.1", "Host: h")
    #expect(reading("\r\n\(request)\r\n\(request)").requests.count == 2)
    #expect(refusal(of: "\r\n\r\n\(request)") == .emptyLines)
    #expect(refusal(of: "\n\(request)") == .bareLineFeed)
    #expect(refusal(of: "\r\(request)") == .bareCarriageReturn)
  }

  @Test func `a client that speaks only HTTP 2 is told so`() {
    #expect(refusal(of: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == .http2Preface)
    #expect(ProtocolError.http2Preface.status == 505)
    #expect(refusal(of: .request("PRI * HTTP/1.1", "Host: h")) != nil)
  }

  @Test func `a TLS greeting is refused with its first byte`() {
    #expect(reading([0x16, 0x03, 0x01]).refusal == .invalidMethod)
  }

  @Test func `a request line may be as long as the limit and no longer`() {
    let limits = RequestLimits(requestLineBytes: 40)
    let rest = "\r\nHost: h\r\n\r\n"
    func line(_ count: Int) -> String { "GET /\(String(repeating: "a", count: count - 14)) HTTP/1.1" }
    #expect(line(38).utf8.count + 2 == 40)
    #expect(reading(line(38) + rest, limits: limits).requests.first?.isWhole == true)
    #expect(refusal(of: line(39) + rest, limits: limits) == .requestLineTooLong)
    // It needn't end for that.
    #expect(reading(String(repeating: "A", count: 39), limits: limits).refusal == nil)
    #expect(reading(String(repeating: "A", count: 40), limits: limits).refusal == .requestLineTooLong)
    #expect(ProtocolError.requestLineTooLong.status == 414)
  }
}
