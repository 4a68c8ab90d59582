import HTTPFraming
import Testing

@Suite struct ResponseTests {
  /// The response to a request, as text.
  private func text(
    _ response: Response, to request: String, fields: ResponseFields = ResponseFields(), body: String? = nil
  ) throws -> String {
    var connection = RequestConnection()
    let bytes = Array(request.utf8)
    guard case .head(let number, _) = connection.next(bytes.span.bytes).action, let framing = connection.answer(number)
    else {
      throw NoAnswer()
    }
    return String(decoding: response.bytes(framing, fields: fields, body: body.map { Array($0.utf8) }), as: UTF8.self)
  }

  private struct NoAnswer: Error {}

  private static let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

  @Test func `a response is framed for its request`() throws {
    var fields = ResponseFields()
    try fields.append("content-type", "application/json")
    let response = Response(status: 202, fields: fields, body: Array("{}".utf8))
    let start = "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\n"
    #expect(try text(response, to: Self.get) == start + "content-length: 2\r\n\r\n{}")
    #expect(
      try text(response, to: "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        == start + "connection: close\r\ncontent-length: 2\r\n\r\n{}")
    #expect(
      try text(response, to: "GET / HTTP/1.0\r\n\r\n") == start + "connection: close\r\ncontent-length: 2\r\n\r\n{}")
    #expect(
      try text(response, to: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        == start + "connection: keep-alive\r\ncontent-length: 2\r\n\r\n{}")
    #expect(try text(response, to: "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n") == start + "content-length: 2\r\n\r\n")
  }

  @Test func `a request adds fields and a body of its own`() throws {
    var fields = ResponseFields()
    try fields.append("x-id", "7\té")
    try fields.append("retry-after", "3")
    let response = Response(status: 503)
    #expect(
      try text(response, to: Self.get, fields: fields, body: "0123456789ab")
        == "HTTP/1.1 503 Service Unavailable\r\nx-id: 7\té\r\nretry-after: 3\r\ncontent-length: 12\r\n\r\n0123456789ab")
    fields.removeAll()
    #expect(
      try text(response, to: Self.get, fields: fields)
        == "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
  }

  @Test func `a status that nobody named has no phrase, and its space`() throws {
    #expect(try text(Response(status: 299), to: Self.get) == "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n")
  }

  @Test(arguments: ["a\r\nb: c", "a\nb", "a\rb", "a\0", "\u{7f}", "\u{1b}"])
  func `a value that would end its line is refused, and not told`(value: String) {
    var fields = ResponseFields()
    #expect(throws: InvalidResponseField.value(ofField: "x-id")) { try fields.append("x-id", value) }
    #expect(fields == ResponseFields())
    #expect(!InvalidResponseField.value(ofField: "x-id").description.contains(value))
  }

  @Test(arguments: ["", "a b", "a:", "a\r\n", "é"])
  func `a name that is no token is refused`(name: String) {
    var fields = ResponseFields()
    #expect(throws: InvalidResponseField.name(name)) { try fields.append(name, "x") }
  }

  @Test(arguments: ["Content-Length", "transfer-encoding", "CONNECTION", "keep-alive", "Upgrade"])
  func `framing can't be set by hand`(name: String) {
    var fields = ResponseFields()
    #expect(throws: InvalidResponseField.framing(name)) { try fields.append(name, "1") }
  }

  @Test(arguments: ProtocolError.allCases)
  func `each refusal has a response ready`(refusal: ProtocolError) throws {
    let response = Response(refusal)
    let text = try text(response, to: Self.get)
    #expect(text.hasPrefix("HTTP/1.1 \(refusal.status) "))
    #expect(!text.hasPrefix("HTTP/1.1 \(refusal.status) \r\n"), "its status has no phrase")
    #expect(text.hasSuffix("content-length: \(refusal.reason.utf8.count + 1)\r\n\r\n\(refusal.reason)\n"))
  }

  @Test func `lengths of every number of digits are written`() throws {
    for count in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 12_345] {
      let body = String(repeating: "x", count: count)
      #expect(try text(Response(status: 200), to: Self.get, body: body).contains("content-length: \(count)\r\n\r\n"))
    }
  }
}

extension Response {
  /// The response as an array.
  func bytes(_ framing: ResponseFraming, fields: ResponseFields = ResponseFields(), body: [UInt8]? = nil) -> [UInt8] {
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: capacity(fields: fields, body: body?.count), alignment: 1)
    defer { memory.deallocate() }
    var output = OutputRawSpan(buffer: memory, initializedCount: 0)
    if let body {
      write(framing, fields: fields, body: body.span.bytes, to: &output)
    } else {
      write(framing, fields: fields, to: &output)
    }
    let count = output.finalize(for: memory)
    return Array(memory.prefix(count))
  }
}
