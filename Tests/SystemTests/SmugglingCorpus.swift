// Requests that are made to be read in two ways: by length or by chunks, with lines that end here or there, with names that are almost
// those that count. Each carries a second request where a reader who is led astray finds one.

import Foundation

/// One stream of bytes that a client sends on one connection.
struct SmugglingCase: Sendable {
  /// Where a payload is found in the sink, if it is: the last part of its path, and its body.
  struct Payload: Sendable, Hashable, CustomStringConvertible {
    var place: String
    var body: String
    var description: String { "\(place): \(body.debugDescription)" }
  }

  let name: String
  /// What stands for it in the paths of its requests.
  let code: String
  let bytes: [UInt8]
  /// What the node answers when it gets this itself.
  let statuses: [Int]
  /// What it takes of it then: RFC 9112's reading, or a part of that.
  let taken: [Payload]
  /// Whether the first answer has no body, whatever it says of its length.
  let isHead: Bool
  /// What a balancer in front may make of it besides, by mending what the node doesn't: each of them whole as some client has sent it.
  let fair: [Payload]
}

/// Whose keys stand in a stream.
struct SmugglerKeys: Sendable {
  /// Of the requests that are plain to see.
  var own: String
  /// Of those that are hidden in them.
  var hidden: String
}

struct SmugglingCorpus: Sendable {
  let cases: [SmugglingCase]

  init(_ keys: SmugglerKeys) {
    var writer = Writer(keys: keys)
    writer.lengths()
    writer.encodings()
    writer.chunks()
    writer.lines()
    writer.requestLines()
    writer.connections()
    writer.earlyAnswers()
    cases = writer.cases
  }
}

private struct Writer {
  let keys: SmugglerKeys
  var cases: [SmugglingCase] = []

  init(keys: SmugglerKeys) { self.keys = keys }

  // MARK: Words

  private let five = "Content-Length: 5"
  private let chunked = "Transfer-Encoding: chunked"
  private let inFive = "hello"
  private let inChunks = "5\r\nhello\r\n0\r\n\r\n"

  /// A request up to its body. Each scalar is a byte.
  private func head(_ fields: String..., line: String? = nil, place: String = "seen") -> String {
    ([line ?? "POST /v1/CASE/\(place) HTTP/1.1", "Host: sluice", "Authorization: Bearer \(keys.own)"] + fields)
      .joined(separator: "\r\n") + "\r\n\r\n"
  }

  /// The request that is hidden. Whole.
  private var hidden: String {
    "POST /v1/CASE/hidden HTTP/1.1\r\nHost: sluice\r\nX-API-Key: \(keys.hidden)\r\nContent-Length: 6\r\n\r\nhidden"
  }

  /// One that would swallow what comes next as its body.
  private var swallowing: String {
    "POST /v1/CASE/hidden HTTP/1.1\r\nHost: sluice\r\nX-API-Key: \(keys.hidden)\r\nContent-Length: 400\r\n\r\nx="
  }

  private let seen = SmugglingCase.Payload(place: "seen", body: "hello")
  private let seenEmpty = SmugglingCase.Payload(place: "seen", body: "")
  private let seenHidden = SmugglingCase.Payload(place: "hidden", body: "hidden")

  private mutating func add(
    _ name: String, _ text: String, _ statuses: [Int], takes taken: [SmugglingCase.Payload] = [],
    fair: [SmugglingCase.Payload] = []
  ) {
    // As long as the word that it stands for, so that lengths stay what they are.
    let code = String(cases.count + 1_000)
    func coded(_ text: String) -> String { text.replacingOccurrences(of: "CASE", with: code) }
    func coded(_ payloads: [SmugglingCase.Payload]) -> [SmugglingCase.Payload] {
      payloads.map { SmugglingCase.Payload(place: $0.place, body: coded($0.body)) }
    }
    cases.append(
      SmugglingCase(
        name: name, code: code, bytes: coded(text).unicodeScalars.map { UInt8($0.value) }, statuses: statuses,
        taken: coded(taken), isHead: text.hasPrefix("HEAD"), fair: coded(fair)))
  }

  // MARK: Content-Length

  mutating func lengths() {
    let ended = "0\r\n\r\n" + hidden
    add(
      "cl-te", head("Content-Length: \(ended.utf8.count + 2)", chunked) + ended, [400], fair: [seenEmpty, seenHidden])
    add("te-cl", head(chunked, "Content-Length: 4") + inChunks + hidden, [400], fair: [seen, seenHidden])
    add("te-cl-swallowing", head(chunked, "Content-Length: 15") + inChunks + swallowing, [400], fair: [seen])
    add("te-cl-zero", head(chunked, "Content-Length: 0") + inChunks, [400], fair: [seen])
    add("cl-twice-equal", head(five, five) + inFive, [400], fair: [seen])
    add("cl-twice-different", head(five, "Content-Length: 0") + inFive + hidden, [400])
    add("cl-twice-different-turned", head("Content-Length: 0", five) + hidden, [400])
    add("cl-list-equal", head("Content-Length: 5, 5") + inFive, [400], fair: [seen])
    add("cl-list-different", head("Content-Length: 5, 0") + inFive + hidden, [400])
    add("cl-plus", head("Content-Length: +5") + inFive + hidden, [400])
    add("cl-minus", head("Content-Length: -5") + inFive + hidden, [400])
    add("cl-minus-zero", head("Content-Length: -0") + hidden, [400])
    add("cl-hexadecimal", head("Content-Length: 0x5") + inFive + hidden, [400])
    add("cl-two-numbers", head("Content-Length: 5 0") + inFive + hidden, [400])
    add("cl-empty", head("Content-Length:") + hidden, [400])
    add("cl-blank", head("Content-Length: \t ") + hidden, [400])
    add("cl-zeros-before", head("Content-Length: 0005") + inFive, [202], takes: [seen])
    add("cl-tab-before", head("Content-Length:\t5") + inFive, [400], fair: [seen])
    add("cl-tab-after", head("Content-Length: 5\t") + inFive, [400], fair: [seen])
    add("cl-blanks-after", head("Content-Length: 5   ") + inFive, [202], takes: [seen])
    add("cl-vertical-tab", head("Content-Length: \u{b}5") + inFive + hidden, [400])
    add("cl-form-feed-after", head("Content-Length: 5\u{c}") + inFive + hidden, [400])
    add("cl-nul-after", head("Content-Length: 5\0") + inFive + hidden, [400])
    add("cl-decimal-point", head("Content-Length: 5.0") + inFive + hidden, [400])
    add("cl-exponent", head("Content-Length: 5e0") + inFive + hidden, [400])
    add("cl-underscore", head("Content-Length: 5_0") + inFive + hidden, [400])
    add("cl-quoted", head("Content-Length: \"5\"") + inFive + hidden, [400])
    add("cl-superscript", head("Content-Length: \u{b2}") + inFive + hidden, [400])
    add("cl-past-64-bits", head("Content-Length: 18446744073709551621") + inFive + hidden, [413])
    add("cl-past-63-bits", head("Content-Length: 9223372036854775813") + inFive + hidden, [413])
    add("cl-past-32-bits", head("Content-Length: 4294967301") + inFive + hidden, [413])
    add("cl-space-before-colon", head("Content-Length : 5") + inFive + hidden, [400])
    add("cl-tab-before-colon", head("Content-Length\t: 5") + inFive + hidden, [400])
    add("cl-and-space-before-colon", head(five, "Content-Length : 0") + inFive + hidden, [400], fair: [seenHidden])
    add("cl-name-with-underscore", head("Content_Length: 50", five) + inFive, [202], takes: [seen])
    add(
      "cl-name-with-underscore-alone", head("Content_Length: 5") + hidden, [202, 202], takes: [seenEmpty, seenHidden])
    add("cl-name-in-odd-case", head("cOnTeNt-LeNgTh: 5") + inFive, [202], takes: [seen])
    add("cl-name-with-nul", head("Content-Length\0: 50", five) + inFive, [400])
    add("cl-folded-away", head("X: y", " Content-Length: 50", five) + inFive, [400], fair: [seen])
    add("cl-folded", head("Content-Length:", " 5") + inFive, [400], fair: [seen])
    add("cl-folded-digits", head("Content-Length: 1", " 5") + inFive + "0123456789", [400])
    add("cl-too-long", head("Content-Length: 50") + inFive, [])
    add("cl-too-short", head(five) + inFive + hidden, [202, 202], takes: [seen, seenHidden])
    add("cl-none", head() + hidden, [202, 202], takes: [seenEmpty, seenHidden])
  }

  // MARK: Transfer-Encoding

  mutating func encodings() {
    /// One reader sees a length, another chunks.
    func both(_ name: String, _ encoding: String, _ status: Int = 400, fair: [SmugglingCase.Payload] = []) {
      let ended = "0\r\n\r\n" + hidden
      add(name, head("Content-Length: \(ended.utf8.count)", encoding) + ended, [status], fair: fair)
    }
    func alone(_ name: String, _ encoding: String, _ status: Int = 400, fair: [SmugglingCase.Payload] = []) {
      add(name, head(encoding) + inChunks + hidden, [status], fair: fair)
    }
    let byChunks = [seenEmpty, seenHidden]
    let whole = [seen, seenHidden]
    both("te-x", "Transfer-Encoding: xchunked")
    both("te-quoted", "Transfer-Encoding: \"chunked\"")
    both("te-space-before-colon", "Transfer-Encoding : chunked")
    both("te-tab-before-colon", "Transfer-Encoding\t: chunked")
    both("te-tab-before", "Transfer-Encoding:\tchunked", fair: byChunks)
    both("te-vertical-tab", "Transfer-Encoding: \u{b}chunked")
    both("te-no-break-space", "Transfer-Encoding:\u{a0}chunked")
    both("te-nul", "Transfer-Encoding: chunked\0")
    both("te-soft-hyphen", "Transfer-Encoding: chun\u{ad}ked")
    both("te-folded", "Transfer-Encoding:\r\n chunked", fair: byChunks)
    both(
      "te-folded-away", "X: y\r\n Transfer-Encoding: chunked", fair: [.init(place: "seen", body: "0\r\n\r\n" + hidden)])
    both("te-behind-bare-line-feed", "X: y\nTransfer-Encoding: chunked", fair: byChunks)
    both("te-behind-bare-carriage-return", "X: y\rTransfer-Encoding: chunked")
    both("te-bare-carriage-return", "Transfer-Encoding: chunked\rX: y")
    both("te-leading-space", " Transfer-Encoding: chunked")
    both("te-identity", "Transfer-Encoding: identity")
    both("te-parameter", "Transfer-Encoding: chunked;q=1")
    both("te-cow", "Transfer-Encoding: cow")
    both("te-empty", "Transfer-Encoding:")
    both("te-listed-in-connection", "\(chunked)\r\nConnection: Transfer-Encoding", fair: byChunks)
    alone("te-chunked-identity", "Transfer-Encoding: chunked, identity")
    alone("te-identity-chunked", "Transfer-Encoding: identity, chunked", 501, fair: whole)
    alone("te-gzip-chunked", "Transfer-Encoding: gzip, chunked", 501)
    alone("te-chunked-gzip", "Transfer-Encoding: chunked, gzip")
    alone("te-chunked-twice", "Transfer-Encoding: chunked, chunked")
    alone("te-lines-chunked-identity", "\(chunked)\r\nTransfer-Encoding: identity")
    alone("te-lines-identity-chunked", "Transfer-Encoding: identity\r\n\(chunked)", 501)
    alone("te-lines-chunked-twice", "\(chunked)\r\n\(chunked)")
    alone("te-lines-chunked-cow", "\(chunked)\r\nTransfer-Encoding: cow")
    alone("te-comma-after", "Transfer-Encoding: chunked,", fair: whole)
    alone("te-comma-before", "Transfer-Encoding: ,chunked", 501, fair: whole)
    alone("te-unknown-alone", "Transfer-Encoding: cow")
    add("te-odd-case", head("tRANSFER-eNCODING: cHUNKED") + inChunks, [202], takes: [seen])
    add("te-no-blank", head("Transfer-Encoding:chunked") + inChunks, [202], takes: [seen])
    add("te-tab-after", head("Transfer-Encoding: chunked \t") + inChunks, [400], fair: [seen])
    add("te-blanks-after", head("Transfer-Encoding: chunked  ") + inChunks, [202], takes: [seen])
    add("te-name-with-underscore", head("Transfer_Encoding: chunked", five) + inFive, [202], takes: [seen])
    add(
      "te-name-with-underscore-alone", head("Transfer_Encoding: chunked") + hidden, [202, 202],
      takes: [seenEmpty, seenHidden])
    add("te-in-http-1-0", head(chunked, line: "POST /v1/CASE/seen HTTP/1.0") + inChunks + hidden, [400], fair: [seen])
    add(
      "te-and-cl-in-http-1-0",
      head(chunked, "Content-Length: 15", "Connection: keep-alive", line: "POST /v1/CASE/seen HTTP/1.0") + inChunks
        + hidden, [400], fair: [seen, .init(place: "seen", body: inChunks), seenHidden])
    add(
      "te-hidden-by-connection", head(chunked, "Connection: close, Transfer-Encoding") + inChunks, [202], takes: [seen])
    add(
      "cl-hidden-by-connection", head(five, "Connection: Content-Length") + inFive, [202], takes: [seen],
      fair: [seenEmpty])
  }

  // MARK: Chunks

  mutating func chunks() {
    func bad(_ name: String, _ body: String, _ status: Int = 400, fair: [SmugglingCase.Payload] = []) {
      add(name, head(chunked) + body + hidden, [status], fair: fair)
    }
    let whole = [seen, seenHidden]
    add("chunk-whole", head(chunked) + inChunks + hidden, [202, 202], takes: whole)
    add("chunk-zeros-before", head(chunked) + "0005\r\nhello\r\n000\r\n\r\n", [202], takes: [seen])
    add("chunk-extension", head(chunked) + "5;a=b;c\r\nhello\r\n0;d=\"e;\\\"f\"\r\n\r\n", [202], takes: [seen])
    add("chunk-trailer", head(chunked) + "5\r\nhello\r\n0\r\nX-Checksum: 1\r\n\r\n", [202], takes: [seen])
    add(
      "chunk-uppercase", head(chunked) + "A\r\nhellohello\r\n0\r\n\r\n", [202],
      takes: [.init(place: "seen", body: "hellohello")])
    add("chunk-many", head(chunked) + "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n", [202], takes: [seen])
    bad("chunk-0x", "0x5\r\nhello\r\n0\r\n\r\n")
    bad("chunk-plus", "+5\r\nhello\r\n0\r\n\r\n")
    bad("chunk-minus", "-5\r\nhello\r\n0\r\n\r\n")
    bad("chunk-underscore", "0_5\r\nhello\r\n0\r\n\r\n")
    bad("chunk-blank-before", " 5\r\nhello\r\n0\r\n\r\n")
    bad("chunk-blank-after", "5 \r\nhello\r\n0\r\n\r\n", fair: whole)
    bad("chunk-empty-size", "\r\nhello\r\n0\r\n\r\n")
    bad("chunk-extension-without-size", ";a=b\r\nhello\r\n0\r\n\r\n")
    bad("chunk-17-digits", "10000000000000005\r\nhello\r\n0\r\n\r\n")
    bad("chunk-past-64-bits", "FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n")
    bad("chunk-minus-one", "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", 413)
    bad("chunk-past-32-bits", "100000005\r\nhello\r\n0\r\n\r\n", 413)
    bad("chunk-size-ends-in-line-feed", "5\nhello\r\n0\r\n\r\n", fair: whole)
    bad("chunk-size-ends-in-carriage-return", "5\rhello\r\n0\r\n\r\n")
    bad("chunk-data-ends-in-line-feed", "5\r\nhello\n0\r\n\r\n", fair: whole)
    bad("chunk-data-too-long", "5\r\nhello world\r\n0\r\n\r\n")
    // Read as "hello\r" and a line that ends in LF.
    bad("chunk-data-too-short", "6\r\nhello\r\n0\r\n\r\n", fair: [.init(place: "seen", body: "hello\r"), seenHidden])
    bad("chunk-end-missing", "5\r\nhello0\r\n\r\n")
    bad("chunk-extension-line-feed", "5;a\nhello\r\n0\r\n\r\n", fair: whole)
    bad("chunk-extension-hides-chunk", "5;a=\"\r\nhello\r\n0\r\n\r\n\"\r\n", fair: whole)
    bad("chunk-extension-nul", "5;a=\0\r\nhello\r\n0\r\n\r\n", fair: whole)
    bad("chunk-extension-bare-carriage-return", "5;a\rb\r\nhello\r\n0\r\n\r\n", fair: whole)
    bad("chunk-extension-long", "5;\(String(repeating: "a", count: 1_200))\r\nhello\r\n0\r\n\r\n", fair: whole)
    bad("chunk-last-with-letters", "5\r\nhello\r\n0x\r\n\r\n")
    bad("chunk-trailer-content-length", "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n", fair: whole)
    bad("chunk-trailer-transfer-encoding", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", fair: whole)
    bad("chunk-trailer-host", "5\r\nhello\r\n0\r\nHost: elsewhere\r\n\r\n", fair: whole)
    bad("chunk-trailer-folded", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", fair: whole)
    bad("chunk-trailer-line-feed", "5\r\nhello\r\n0\r\nX: y\n\r\n", fair: whole)
    bad("chunk-trailer-missing-end", "5\r\nhello\r\n0\r\n", fair: [seen])
    add("chunk-end-line-feed", head(chunked) + "5\r\nhello\r\n0\r\n\n" + hidden, [400], fair: whole)
    add("chunk-unfinished", head(chunked) + "5\r\nhello\r\n", [])
    add(
      "chunk-holds-request", head(chunked) + "\(String(hidden.utf8.count, radix: 16))\r\n\(hidden)\r\n0\r\n\r\n", [202],
      takes: [.init(place: "seen", body: hidden)])
  }

  // MARK: Lines of the header

  mutating func lines() {
    let whole = [seen, seenHidden]
    /// A balancer that passes it on finds nothing hidden in it: two requests, one after the other.
    func bad(_ name: String, _ field: String) {
      add(name, head(field, five) + inFive + hidden, [400], fair: whole)
    }
    add(
      "line-feeds", head(five).replacingOccurrences(of: "\r\n", with: "\n") + inFive + hidden, [400], fair: whole)
    add(
      "line-feed-ends-header", head(five).dropLast(2) + "\n" + inFive + hidden, [400], fair: whole)
    add("line-feed-first", "\n" + head(five) + inFive, [400], fair: [seen])
    add("empty-line-first", "\r\n" + head(five) + inFive, [202], takes: [seen])
    add("empty-lines-first", "\r\n\r\n\r\n" + head(five) + inFive, [400], fair: [seen])
    bad("field-nul", "X: a\0b")
    bad("field-carriage-return", "X: a\rb")
    bad("field-carriage-returns", "X: a\r")
    bad("field-escape", "X: a\u{1b}b")
    bad("field-delete", "X: a\u{7f}b")
    bad("field-without-colon", "Transfer-Encoding chunked")
    bad("field-without-name", ": x")
    bad("field-name-space", "X Y: z")
    bad("field-name-nul", "X\0Y: z")
    bad("field-name-high", "X\u{e9}: z")
    bad("field-name-brackets", "X[]: z")
    bad("field-folded", "X: y\r\n z")
    bad("field-folded-blank", "X: y\r\n \r\nZ: z")
    bad("field-first-folded", "X: y\r\n\tX-API-Key: z")
    add(
      "field-leading-space", "POST /v1/CASE/seen HTTP/1.1\r\n Host: elsewhere\r\nHost: sluice\r\n\(five)\r\n\r\nhello",
      [400])
    add("field-value-high", head("X: \u{e9}", five) + inFive, [202], takes: [seen])
    add("field-many", head(String(repeating: "X: y\r\n", count: 120) + "Y: z", five) + inFive, [431], fair: [seen])
    add(
      "field-long", head("X: " + String(repeating: "y", count: 20_000), five) + inFive, [431], fair: [seen])
    add("host-twice", head("Host: elsewhere", five) + inFive, [400], fair: [seen])
    add("host-space-before-colon", head("Host : elsewhere", five) + inFive + hidden, [400], fair: whole)
    add(
      "host-invalid", head(five).replacingOccurrences(of: "Host: sluice", with: "Host: a b@c") + inFive, [400],
      fair: [seen])
    add("host-missing", head(five).replacingOccurrences(of: "Host: sluice\r\n", with: "") + inFive, [400], fair: [seen])
  }

  // MARK: Request lines

  mutating func requestLines() {
    func line(
      _ name: String, _ line: String, _ statuses: [Int], takes: [SmugglingCase.Payload] = [],
      fair: [SmugglingCase.Payload] = []
    ) {
      add(name, head(five, line: line) + inFive, statuses, takes: takes, fair: fair)
    }
    line("target-absolute", "POST http://sluice/v1/CASE/seen HTTP/1.1", [202], takes: [seen])
    line("target-absolute-elsewhere", "POST http://elsewhere/v1/CASE/seen HTTP/1.1", [202], takes: [seen])
    line("target-absolute-user", "POST http://a@sluice/v1/CASE/seen HTTP/1.1", [400], fair: [seen])
    line("target-absolute-other-scheme", "POST ftp://sluice/v1/CASE/seen HTTP/1.1", [400], fair: [seen])
    line("target-two-slashes", "POST //sluice/v1/CASE/seen HTTP/1.1", [404])
    line("target-fragment", "POST /v1/CASE/seen#x HTTP/1.1", [400], fair: [seen])
    line("target-space", "POST /v1/CASE/seen x HTTP/1.1", [400])
    line("target-nul", "POST /v1/CASE/seen\0 HTTP/1.1", [400])
    line("target-high", "POST /v1/CASE/\u{e9}/seen HTTP/1.1", [400], fair: [seen])
    line("target-encoded-line-end", "POST /v1/CASE/%0d%0aContent-Length:%2050/seen HTTP/1.1", [202], takes: [seen])
    line("target-star", "POST * HTTP/1.1", [400])
    line("target-missing", "POST HTTP/1.1", [400])
    line("line-two-spaces", "POST  /v1/CASE/seen HTTP/1.1", [400], fair: [seen])
    line("line-two-spaces-later", "POST /v1/CASE/seen  HTTP/1.1", [400], fair: [seen])
    line("line-tab", "POST\t/v1/CASE/seen\tHTTP/1.1", [400], fair: [seen])
    line("line-space-at-end", "POST /v1/CASE/seen HTTP/1.1 ", [400], fair: [seen])
    line("line-space-first", " POST /v1/CASE/seen HTTP/1.1", [400])
    line("line-carriage-return", "POST /v1/CASE/seen HTTP/1.1\rX: y", [400])
    line("version-missing", "POST /v1/CASE/seen", [400])
    line("version-0-9", "POST /v1/CASE/seen HTTP/0.9", [505])
    line("version-1-2", "POST /v1/CASE/seen HTTP/1.2", [505], fair: [seen])
    line("version-2-0", "POST /v1/CASE/seen HTTP/2.0", [505], fair: [seen])
    line("version-lower-case", "POST /v1/CASE/seen http/1.1", [400])
    line("version-long", "POST /v1/CASE/seen HTTP/1.10", [400], fair: [seen])
    line("method-lower-case", "post /v1/CASE/seen HTTP/1.1", [405])
    line("method-connect", "CONNECT sluice:80 HTTP/1.1", [501])
    line("method-invalid", "PO(ST /v1/CASE/seen HTTP/1.1", [400])
    add(
      "version-1-0-keep-alive",
      head(five, "Connection: keep-alive", line: "POST /v1/CASE/seen HTTP/1.0") + inFive + hidden, [202, 202],
      takes: [seen, seenHidden])
    add("version-1-0-without-length", head(line: "POST /v1/CASE/seen HTTP/1.0") + hidden, [202], takes: [seenEmpty])
    add("version-0-9-simple", "POST /v1/CASE/seen\r\n" + hidden, [400])
    add(
      "get-with-body", head("Content-Length: \(hidden.utf8.count)", line: "GET /v1/CASE/seen HTTP/1.1") + hidden, [405])
    add(
      "head-with-body", head("Content-Length: \(hidden.utf8.count)", line: "HEAD /v1/CASE/seen HTTP/1.1") + hidden,
      [405])
    add(
      "get-with-chunks", head(chunked, line: "GET /v1/CASE/seen HTTP/1.1") + inChunks + hidden, [405, 202],
      takes: [seenHidden])
    add("preface-h2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden, [505])
    add(
      "line-long", head(five, line: "POST /v1/CASE/\(String(repeating: "x", count: 9_000))/seen HTTP/1.1") + inFive,
      [414], fair: [seen])
  }

  // MARK: Expect, Upgrade, Connection

  mutating func connections() {
    add("expect", head("Expect: 100-continue", five) + inFive + hidden, [202, 202], takes: [seen, seenHidden])
    add("expect-nothing", head("Expect: 100-continue") + hidden, [202, 202], takes: [seenEmpty, seenHidden])
    add(
      "expect-chunks", head("Expect: 100-continue", chunked) + inChunks + hidden, [202, 202], takes: [seen, seenHidden])
    add("expect-unknown", head("Expect: miracles", five) + inFive, [417], fair: [seen])
    add(
      "expect-twice", head("Expect: 100-continue", "Expect: 100-continue", five) + inFive + hidden, [202, 202],
      takes: [seen, seenHidden])
    add(
      "expect-in-http-1-0", head("Expect: 100-continue", five, line: "POST /v1/CASE/seen HTTP/1.0") + inFive + hidden,
      [202], takes: [seen])
    add(
      "upgrade-h2c",
      head("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", five)
        + inFive + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden, [202, 505], takes: [seen])
    add(
      "upgrade-websocket",
      head(
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", five)
        + inFive + hidden, [202, 202], takes: [seen, seenHidden])
    add(
      "connection-hides-host", head("Connection: keep-alive, Host", five) + inFive + hidden, [202, 202],
      takes: [seen, seenHidden])
    add(
      "connection-hides-key", head("Connection: Authorization", five) + inFive + hidden, [202, 202],
      takes: [seen, seenHidden])
    add("connection-close-and-more", head("Connection: close", five) + inFive + hidden, [202], takes: [seen])
    add(
      "trailer-announces-length",
      head(chunked, "Trailer: Content-Length", "TE: trailers") + "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"
        + hidden, [400], fair: [seen, seenHidden])
    add(
      "method-override", head("X-HTTP-Method-Override: GET", "X-Original-URL: /v1/CASE/hidden", five) + inFive, [202],
      takes: [seen])
    add("nonsense-after", head(five) + inFive + "\0\0\0\0", [202, 400], takes: [seen])
  }

  // MARK: Answers before the end

  mutating func earlyAnswers() {
    func unknown(_ fields: String...) -> String {
      (["POST /v1/CASE/seen HTTP/1.1", "Host: sluice", "Authorization: Bearer sk_nobody"] + fields).joined(
        separator: "\r\n") + "\r\n\r\n"
    }
    add("early-refused-short", unknown("Content-Length: \(hidden.utf8.count + 500)") + hidden, [401])
    add("early-refused-long", unknown("Content-Length: 1000000") + hidden, [401])
    add("early-refused-whole", unknown(five) + inFive + hidden, [401, 202], takes: [seenHidden])
    add("early-refused-chunks", unknown(chunked) + inChunks + hidden, [401, 202], takes: [seenHidden])
    add("early-refused-chunks-unfinished", unknown(chunked) + "5\r\nhello\r\n400\r\n" + hidden, [])
    add("early-refused-chunks-bad", unknown(chunked) + "5\r\nhello\r\nx\r\n" + hidden, [400])
    add("early-refused-invited", unknown("Expect: 100-continue", "Content-Length: 70000") + hidden, [401])
    add("early-too-large", head("Content-Length: 999999999") + hidden, [413])
    add(
      "early-not-found", head("Content-Length: \(hidden.utf8.count + 500)", line: "POST /CASE HTTP/1.1") + hidden, [404]
    )
    add("early-no-key", "POST /v1/CASE/seen HTTP/1.1\r\nHost: sluice\r\nContent-Length: 500\r\n\r\n" + hidden, [400])
  }
}
