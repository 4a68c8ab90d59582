// Random requests that are valid by construction, and ways to break one that must be refused. The right reading of a
// request is known from the generator, and not from a parser.

public import HTTPFraming

public struct GeneratedRequest: Sendable {
  public var method: String
  public var target: String
  public var version: RequestHead.Version
  /// Unique in its pipeline: the value of its `x-id`.
  public var id: String
  public var fields: [(name: String, value: String)]
  public var body: [UInt8]
  public var kind: BodyKind
  /// The body as it is sent.
  public var framedBody: [UInt8]
  public var leadingLine: Bool
  /// Whether it says that it is the connection's last.
  public var isLast: Bool
  public var waits: Bool

  public var head: [UInt8] {
    var bytes: [UInt8] = leadingLine ? [0x0D, 0x0A] : []
    bytes += "\(method) \(target) HTTP/1.\(version == .http11 ? 1 : 0)\r\n".utf8
    for field in fields { bytes += "\(field.name):\(field.value)\r\n".utf8 }
    return bytes + [0x0D, 0x0A]
  }

  public var bytes: [UInt8] { head + framedBody }

  /// - Parameter id: What the response must carry.
  public init(id: String, using generator: inout some RandomNumberGenerator) {
    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }
    self.id = id
    version = chance(90) ? .http11 : .http10
    method = ["POST", "POST", "POST", "PUT", "GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "REPORT"]
      .randomElement(using: &generator)!
    switch Int.random(in: 0..<10, using: &generator) {
    case 0: target = "http://example.com/v1/push"
    case 1: target = "HTTPS://[::1]:8443?name=a%20b"
    case 2 where method == "OPTIONS": target = "*"
    default: target = "/v1/push/\(String.token(1...12, &generator))"
    }
    if chance(30), target != "*" {
      target += (target.contains("?") ? "&" : "?") + "api_key=\(String.token(1...20, &generator))"
    }

    fields = []
    for _ in 0..<Int.random(in: 0...6, using: &generator) {
      // A letter before it, so that it is none of the names that mean something.
      fields.append(("q" + String.token(1...10, &generator), String.value(0...40, &generator)))
    }
    if version == .http11 || chance(50) { fields.append(("Host".inAnyCase(&generator), " example.com:8080")) }
    fields.append(("X-Id", String.blanks(&generator) + id + String.blanks(&generator)))

    body = (0..<(chance(60) ? Int.random(in: 0...200, using: &generator) : 0)).map { _ in
      // Bodies that look like framing show which parser is out of step.
      chance(20)
        ? Array("\r\n0:GETPOST HTTP/1.1".utf8).randomElement(using: &generator)!
        : .random(in: 0...255, using: &generator)
    }
    framedBody = body
    if version == .http11, chance(40) {
      kind = .chunked
      fields.append(("Transfer-Encoding".inAnyCase(&generator), " " + "chunked".inAnyCase(&generator)))
      framedBody = Self.chunks(of: body, using: &generator)
    } else if body.isEmpty, chance(50) {
      kind = .none
    } else {
      kind = .length(body.count)
      let zeros = chance(5) ? "00" : ""
      fields.append(("Content-Length".inAnyCase(&generator), " \(zeros)\(body.count)\(chance(10) ? "  " : "")"))
    }
    waits = version == .http11 && !body.isEmpty && chance(10)
    // A chunked body is one even if it turns out to be empty.
    if version == .http11, kind == .chunked, chance(10) { waits = true }
    if waits { fields.append(("Expect", " 100-Continue")) }

    isLast = version == .http10
    switch Int.random(in: 0..<20, using: &generator) {
    case 0:
      fields.append(("Connection".inAnyCase(&generator), " foo, Close"))
      isLast = true
    case 1...6:
      fields.append(("Connection".inAnyCase(&generator), "keep-alive ,x"))
      isLast = false
    default: break
    }
    fields.shuffle(using: &generator)
    leadingLine = chance(5)
  }

  private static func chunks(of body: [UInt8], using generator: inout some RandomNumberGenerator) -> [UInt8] {
    var framed: [UInt8] = []
    func size(_ count: Int) -> String {
      let digits = String(count, radix: 16, uppercase: .random(using: &generator))
      return (Int.random(in: 0..<10, using: &generator) == 0 ? "00" : "") + digits
    }
    func furtherFields() -> String {
      guard Int.random(in: 0..<8, using: &generator) == 0 else { return "" }
      return [";a", ";a=b;c", ";a=\"q;\\\" \t\"", ";n=1"].randomElement(using: &generator)!
    }
    var rest = body[...]
    while !rest.isEmpty {
      let chunk = rest.prefix(Int.random(in: 1...80, using: &generator))
      rest = rest.dropFirst(chunk.count)
      framed += "\(size(chunk.count))\(furtherFields())\r\n".utf8
      framed += chunk
      framed += "\r\n".utf8
    }
    framed += "\(size(0))\(furtherFields())\r\n".utf8
    if Int.random(in: 0..<6, using: &generator) == 0 { framed += "X-Sum: 1\r\nvary:*\r\n".utf8 }
    return framed + [0x0D, 0x0A]
  }

  /// The same request with something in it that must be refused, and with what.
  public func broken(using generator: inout some RandomNumberGenerator) -> (
    bytes: [UInt8], refusals: Set<ProtocolError>
  ) {
    var broken = self
    broken.leadingLine = false
    // So only this one thing is wrong with the request.
    func add(_ name: String, _ value: String) { broken.fields.append((name, value)) }
    func plain() {
      broken.kind = .none
      broken.framedBody = []
      broken.fields.removeAll { ["content-length", "transfer-encoding", "expect"].contains($0.name.lowercased()) }
    }
    func line(_ find: String, _ replacement: String) -> [UInt8] {
      let head = String(decoding: broken.head, as: UTF8.self)
      let parts = head.split(separator: find, maxSplits: 1, omittingEmptySubsequences: false)
      return Array("\(parts[0])\(replacement)\(parts[1])".utf8)
    }
    func chunked(_ body: String) -> [UInt8] {
      plain()
      broken.version = .http11
      broken.fields.removeAll { $0.name.lowercased() == "host" }
      add("Host", "h")
      add("Transfer-Encoding", "chunked")
      return broken.head + Array(body.utf8)
    }
    switch Int.random(in: 0..<30, using: &generator) {
    case 0: return (line(" HTTP/1.", " HTTP/2."), [.unsupportedVersion])
    case 1: return (line(" HTTP/1.", " http/1."), [.malformedVersion])
    case 2: return (line(" HTTP/1.", "  HTTP/1."), [.malformedVersion])
    case 3: return (line(" HTTP/1.", "\u{1} HTTP/1."), [.invalidTarget, .unfitTarget])
    case 4: return (line("\r\n", "\n"), [.bareLineFeed])
    case 5: return (line("\r\n", "\r\r\n"), [.bareCarriageReturn])
    case 6: return (line("\r\n", "\r\n folded: x\r\n"), [.leadingWhitespace])
    case 7: return (line("\r\n", "\r\na: b\r\n\tc\r\n"), [.foldedField])
    case 8: return (line("\r\n", "\r\na : b\r\n"), [.whitespaceBeforeColon])
    case 9: return (line("\r\n", "\r\n: b\r\n"), [.emptyFieldName])
    case 10: return (line("\r\n", "\r\na\r\n"), [.missingColon])
    case 11: return (line("\r\n", "\r\na: b\0c\r\n"), [.invalidFieldValue])
    case 12: return (line("\r\n", "\r\na\u{e4}: b\r\n"), [.invalidFieldName])
    case 13: return (line("\r\n", "\r\na: b\nc: d\r\n"), [.bareLineFeed])
    case 14:
      plain()
      add(
        "Content-Length",
        ["+5", "0x5", "5 5", "5,5", "", "-1", "5_0", "1e1", "5\t", "5 \t "].randomElement(using: &generator)!)
      return (broken.head, [.invalidContentLength])
    case 15:
      plain()
      add("Content-Length", "3")
      add("content-length", "3")
      return (broken.head, [.severalContentLengths])
    case 16:
      plain()
      add("Content-Length", "99999999999999999999999")
      return (broken.head, [.bodyTooLarge])
    case 17:
      plain()
      add("Content-Length", "3")
      add("Transfer-Encoding", "chunked")
      return (broken.head, version == .http11 ? [.lengthAndEncoding] : [.encodingInHTTP10])
    case 18:
      plain()
      broken.version = .http10
      add("Transfer-Encoding", "chunked")
      return (broken.head, [.encodingInHTTP10])
    case 19:
      _ = chunked("")
      add("Transfer-Encoding", ["gzip", "identity", "chunked;a=b", "x"].randomElement(using: &generator)!)
      return (broken.head, [.malformedTransferEncoding])
    case 20:
      plain()
      broken.version = .http11
      broken.fields.removeAll { $0.name.lowercased() == "host" }
      return (broken.head, [.missingHost])
    case 21:
      add("host", "h")
      add("Host", "h")
      return (broken.head, [.severalHosts])
    case 22:
      broken.fields.removeAll { $0.name.lowercased() == "host" }
      add("Host", ["a b", "a/b", "", "a@b", "[::1", "h:65536", "h:x", "%zz"].randomElement(using: &generator)!)
      return (broken.head, [.invalidHost])
    case 23:
      add("Expect", ["200-ok", "100-continue, x", ""].randomElement(using: &generator)!)
      return (broken.head, [.unknownExpectation])
    case 24:
      let size = ["", "0x5", "5 5", " 5", "-5", "+5", "g", "00000000000000005", "5_0"].randomElement(using: &generator)!
      return (chunked("\(size)\r\nhello\r\n0\r\n\r\n"), [.invalidChunkSize])
    case 25: return (chunked("ffffffffffffffff\r\nhello\r\n0\r\n\r\n"), [.bodyTooLarge])
    case 26: return (chunked("5\r\nhello0\r\n0\r\n\r\n"), [.missingChunkEnd])
    case 27: return (chunked("5;a=\u{1}\r\nhello\r\n0\r\n\r\n"), [.invalidChunkExtension])
    case 28: return (chunked("5\nhello\r\n0\r\n\r\n"), [.bareLineFeed])
    default: return (chunked("0\r\nContent-Length: 5\r\n\r\n"), [.forbiddenTrailer])
    }
  }
}

extension String {
  fileprivate static func token(_ count: ClosedRange<Int>, _ generator: inout some RandomNumberGenerator) -> String {
    let characters = Array("abcdefghijklmnopqrstuvwxyzABCDEFXYZ0123456789-_.~")
    return String(
      (0..<Int.random(in: count, using: &generator)).map { _ in characters.randomElement(using: &generator)! })
  }

  fileprivate static func value(_ count: ClosedRange<Int>, _ generator: inout some RandomNumberGenerator) -> String {
    let characters = Array("abc XYZ\t09:;,=\"'()<>@[]{}?/\\^`|é")
    return String(
      (0..<Int.random(in: count, using: &generator)).map { _ in characters.randomElement(using: &generator)! })
  }

  fileprivate static func blanks(_ generator: inout some RandomNumberGenerator) -> String {
    ["", " ", " ", "\t", "  \t "].randomElement(using: &generator)!
  }

  fileprivate func inAnyCase(_ generator: inout some RandomNumberGenerator) -> String {
    switch Int.random(in: 0..<3, using: &generator) {
    case 0: lowercased()
    case 1: uppercased()
    default: self
    }
  }
}

extension [UInt8] {
  /// Damages a few bytes. Bytes that matter in HTTP are preferred, as positions and as values.
  public mutating func damage(using generator: inout some RandomNumberGenerator) {
    guard !isEmpty else { return }
    let weighty = Array("\r\n\n\t\0 :;,/?#%0123456789abfx\u{7f}\u{80}".utf8)
    let at = Int.random(in: indices, using: &generator)
    switch Int.random(in: 0..<7, using: &generator) {
    case 0: self[at] = .random(in: 0...255, using: &generator)
    case 1, 2: self[at] = weighty.randomElement(using: &generator)!
    case 3: remove(at: at)
    case 4: insert(weighty.randomElement(using: &generator)!, at: at)
    case 5: removeSubrange(at..<Swift.min(count, at + 3))
    default: insert(contentsOf: self[at...].prefix(30), at: at)
    }
  }
}
