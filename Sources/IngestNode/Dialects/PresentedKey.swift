// Finds the key of a push. A request may have keys in several places. The first place in the dialect's order counts, so
// that a header added by a proxy doesn't replace the client's own.
//
// A value that is longer than any key is no key, and is skipped like an empty place. So the token that a mesh puts into
// `Authorization` doesn't hide a key in `X-API-Key`. The request is answered `key_too_long` only if there is nothing
// else. Rejected: refusing the request in any case because two keys are ambiguous. These aren't two keys, and a 400
// costs a client its payload.
//
// The key is hashed in the received bytes, so no copy of a secret is made.

internal import Bytes
internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica
internal import KeyStore

/// A place in a request where a key may be.
enum KeyPlace: Sendable {
  /// `Authorization: Bearer KEY`.
  case bearer
  /// A header whose whole value is the key.
  case header(FieldName)
  /// A parameter of the query, percent-encoded.
  case query(StaticString)
  /// A header of Sentry's: `Sentry sentry_version=7, sentry_key=KEY`.
  case sentryAuth(FieldName)
  /// The body's first line, a JSON object whose `dsn` is a URL with the key as its user. Sentry's clients send it
  /// through proxies that drop headers. It is read as soon as the line has arrived. In a compressed body it isn't
  /// found.
  case envelopeDSN
}

/// The result of searching a request for its key.
enum PresentedKey: Sendable, Equatable {
  case key(KeyID)
  /// There are only values that are too long to be a key.
  case tooLong
  case missing

  /// The longest key, in bytes. No longer one can be published.
  static let limit = KeyListParser.secretLimit
  /// Maximum bytes of a body that are searched for its first line.
  private static let lineLimit = 16 << 10

  /// Finds the key in the head of a request. An empty place has no key.
  static func find(_ places: [KeyPlace], in head: borrowing RequestHead, _ bytes: RawSpan) -> PresentedKey {
    var found = PresentedKey.missing
    for place in places {
      switch look(in: place, of: head, bytes) {
      case .key(let id): return .key(id)
      case .tooLong: found = .tooLong
      case .missing: break
      }
    }
    return found
  }

  private static func look(
    in place: KeyPlace, of head: borrowing RequestHead, _ bytes: RawSpan
  ) -> PresentedKey {
    switch place {
    case .bearer:
      guard let value = head.first("authorization", in: bytes), let key = afterScheme("bearer", value, bytes) else {
        return .missing
      }
      return presented(key, bytes)
    case .header(let name): return head.first(name, in: bytes).map { presented($0, bytes) } ?? .missing
    case .query(let name):
      guard let query = head.query, let value = parameter(name, of: query, bytes) else { return .missing }
      return decoded(value, bytes)
    case .sentryAuth(let name):
      guard let value = head.first(name, in: bytes), let list = afterScheme("sentry", value, bytes),
        let key = element("sentry_key", of: list, bytes)
      else { return .missing }
      return presented(key, bytes)
    case .envelopeDSN: return .missing
    }
  }

  /// Whether the part of a body that `findDSN` reads has arrived.
  /// - Parameter searched: The number of leading bytes that are known to contain no line end.
  static func hasFirstLine(_ body: RawSpan, searched: Int) -> Bool {
    if body.byteCount >= lineLimit { return true }
    return (searched..<body.byteCount).contains { body.byte($0) == UInt8(ascii: "\n") }
  }

  /// The key in the first line of a body.
  static func findDSN(in body: RawSpan) -> PresentedKey {
    let reach = min(body.byteCount, lineLimit)
    let end = (0..<reach).first { body.byte($0) == UInt8(ascii: "\n") } ?? reach
    guard let value = valueOfDSN(in: 0..<end, body) else { return .missing }
    guard value.contains(where: { body.byte($0) == UInt8(ascii: "\\") }) else { return userKey(in: value, body) }
    // PHP's JSON writes `\/` for a slash, and .NET's `\u002B` for a plus. With these escapes left in, the text would be
    // another key, which nobody has.
    let quoted = value.lowerBound - 1..<value.upperBound + 1
    guard let text = String(json: body.extracting(quoted).withUnsafeBytes(Array.init)) else { return .missing }
    let plain = Array(text.utf8)
    return userKey(in: plain.indices, plain.span.bytes)
  }

  /// The user of a URL: the text between `://` and `@`.
  private static func userKey(in value: Range<Int>, _ body: RawSpan) -> PresentedKey {
    guard let scheme = position(of: "://", in: value, body) else { return .missing }
    let user = scheme..<value.upperBound
    guard let at = user.first(where: { !isUserPart(body.byte($0)) }), body.byte(at) == UInt8(ascii: "@") else {
      return .missing
    }
    // KEY or KEY:SECRET, the form before 2018.
    let colon = (scheme..<at).first { body.byte($0) == UInt8(ascii: ":") } ?? at
    return decoded(scheme..<colon, body)
  }

  /// The text between the quotes of the line's member "dsn". Another member's value that equals "dsn" doesn't count,
  /// nor does a member of a nested object. Either may be followed by an unrelated URL, and then a key would be refused
  /// that the client didn't send.
  private static func valueOfDSN(in line: Range<Int>, _ body: RawSpan) -> Range<Int>? {
    func afterBlanks(_ place: Int) -> Int? { (place..<line.upperBound).first { body.byte($0) > 0x20 } }
    /// The index of the closing quote of the string that begins after this index.
    func closing(_ begin: Int) -> Int? {
      var place = begin
      while place < line.upperBound, body.byte(place) != UInt8(ascii: "\"") {
        place += body.byte(place) == UInt8(ascii: "\\") ? 2 : 1
      }
      return place < line.upperBound ? place : nil
    }
    var depth = 0
    var place = line.lowerBound
    while place < line.upperBound {
      switch body.byte(place) {
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
      case UInt8(ascii: "\""):
        guard let quote = closing(place + 1) else { return nil }
        let isName = depth == 1 && quote - place == 4 && body.equals("dsn", at: place + 1..<quote)
        place = quote
        guard isName, let colon = afterBlanks(quote + 1), body.byte(colon) == UInt8(ascii: ":") else { break }
        guard let opening = afterBlanks(colon + 1), body.byte(opening) == UInt8(ascii: "\"") else { return nil }
        return closing(opening + 1).map { opening + 1..<$0 }
      default: break
      }
      place += 1
    }
    return nil
  }

  private static func isUserPart(_ byte: UInt8) -> Bool {
    byte > 0x20 && byte != UInt8(ascii: "@") && byte != UInt8(ascii: "/") && byte != UInt8(ascii: "\"")
  }

  /// The index after the first occurrence of a text.
  private static func position(of text: StaticString, in range: Range<Int>, _ bytes: RawSpan) -> Int? {
    let count = text.utf8CodeUnitCount
    guard range.count >= count else { return nil }
    return (range.lowerBound...range.upperBound - count).first { start in
      bytes.equals(text, at: start..<start + count)
    }.map { $0 + count }
  }

  /// The part after an authentication scheme; nil if the value has another scheme.
  private static func afterScheme(_ scheme: StaticString, _ value: Range<Int>, _ bytes: RawSpan) -> Range<Int>? {
    let count = scheme.utf8CodeUnitCount
    guard value.count > count + 1, bytes.byte(value.lowerBound + count) == UInt8(ascii: " ") else { return nil }
    guard bytes.matches(scheme, at: value.lowerBound..<value.lowerBound + count) else { return nil }
    return bytes.trimmed(value.lowerBound + count + 1..<value.upperBound)
  }

  /// The value of `name=` in a comma-separated list.
  private static func element(_ name: StaticString, of list: Range<Int>, _ bytes: RawSpan) -> Range<Int>? {
    pair(name, of: list, separator: UInt8(ascii: ","), bytes)
  }

  private static func parameter(_ name: StaticString, of query: Range<Int>, _ bytes: RawSpan) -> Range<Int>? {
    pair(name, of: query, separator: UInt8(ascii: "&"), bytes)
  }

  private static func pair(
    _ name: StaticString, of range: Range<Int>, separator: UInt8, _ bytes: RawSpan
  ) -> Range<Int>? {
    let count = name.utf8CodeUnitCount
    var start = range.lowerBound
    while start < range.upperBound {
      let end = (start..<range.upperBound).first { bytes.byte($0) == separator } ?? range.upperBound
      let part = bytes.trimmed(start..<end)
      if part.count > count, bytes.byte(part.lowerBound + count) == UInt8(ascii: "="),
        bytes.equals(name, at: part.lowerBound..<part.lowerBound + count)
      {
        return part.lowerBound + count + 1..<part.upperBound
      }
      start = end + 1
    }
    return nil
  }

  private static func presented(_ range: Range<Int>, _ bytes: RawSpan) -> PresentedKey {
    guard !range.isEmpty else { return .missing }
    guard range.count <= limit else { return .tooLong }
    return .key(bytes.extracting(range).withUnsafeBytes { KeyID(secret: $0) })
  }

  /// Invalid percent-encoding stays unchanged: it belongs to a key that is only looked up and never interpreted.
  private static func decoded(_ range: Range<Int>, _ bytes: RawSpan) -> PresentedKey {
    guard range.contains(where: { bytes.byte($0) == UInt8(ascii: "%") }) else {
      return presented(bytes.trimmed(range), bytes)
    }
    guard range.count <= 3 * limit else { return .tooLong }
    var decoded: [UInt8] = []
    var at = range.lowerBound
    while at < range.upperBound {
      if bytes.byte(at) == UInt8(ascii: "%"), at + 2 < range.upperBound, let high = bytes.byte(at + 1).hexadecimal,
        let low = bytes.byte(at + 2).hexadecimal
      {
        decoded.append(high << 4 | low)
        at += 3
      } else {
        decoded.append(bytes.byte(at))
        at += 1
      }
    }
    let whole = decoded.span.bytes
    return presented(whole.trimmed(0..<decoded.count), whole)
  }
}
