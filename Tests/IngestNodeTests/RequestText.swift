// Requests as the tests write them, and their heads as the framing machine reads them.

import HTTPFraming

extension String {
  /// A request with the lines that every client sends.
  static func request(_ line: String, _ fields: [String] = [], body: String = "") -> String {
    ([line, "Host: h"] + fields).map { "\($0)\r\n" }.joined() + "\r\n" + body
  }

  /// A push whose body's length is announced.
  static func post(
    to path: String = "/v1/push", key: String? = "good", _ fields: String..., body: String = "payload"
  ) -> String {
    head(path, key: key, fields, length: body.utf8.count) + body
  }

  /// The head of a push.
  /// - Parameter length: That is announced.
  static func head(
    to path: String = "/v1/push", key: String? = "good", _ fields: String..., length: Int
  ) -> String {
    head(path, key: key, fields, length: length)
  }

  private static func head(_ path: String, key: String?, _ fields: [String], length: Int) -> String {
    request(
      "POST \(path) HTTP/1.1",
      (key.map { ["Authorization: Bearer \($0)"] } ?? []) + fields + ["Content-Length: \(length)"])
  }

  /// The head of a push that announces chunks.
  static func chunkedHead(to path: String = "/v1/push", key: String? = "good", _ fields: String...) -> String {
    request(
      "POST \(path) HTTP/1.1",
      (key.map { ["Authorization: Bearer \($0)"] } ?? []) + fields + ["Transfer-Encoding: chunked"])
  }

  /// One chunk; of nothing, the end.
  static func chunk(_ data: String = "") -> String {
    String(data.utf8.count, radix: 16) + "\r\n" + data + "\r\n"
  }

  /// So many bytes that mean nothing.
  static func filler(_ count: Int) -> String { String(repeating: "x", count: count) }
}

/// Calls with what the framing machine reads of a request without a body.
func withHead<Result>(of request: String, _ body: (RequestHead, RawSpan) throws -> Result) throws -> Result {
  let bytes = Array(request.utf8)
  var connection = RequestConnection()
  let step = connection.next(bytes.span.bytes)
  guard case .head = step.action else {
    throw ReadAnswer.Unreadable(description: "no head is read in \(request.debugDescription), but \(step.action)")
  }
  return try body(connection.head, bytes.span.bytes)
}
