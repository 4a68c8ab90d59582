// One kind of client: its paths, the places of its key in a request, and the wording of its answers. A dialect is a
// value, and `Dialects` lists them all. The connection's handler knows none of them.
//
// A dialect can't choose the meaning of an answer. `AnswerTable` has all statuses except the one for "accepted", the
// same for all dialects. So no dialect can turn an undecided key into a refusal. Where the table says that a load
// balancer mustn't ask another node, the dialect names the status that its clients handle.

internal import Bytes
internal import HTTPFraming
internal import IngestQueue
internal import NIOCore

/// A dialect of the push listener. It is an object because every request retains one.
final class Dialect: Sendable {
  /// One word in lower case, for metrics and settings.
  let name: String
  /// The first route that matches counts.
  let routes: [Route]
  /// The places where a key may be. The first one that has a key counts.
  let keys: [KeyPlace]
  /// Whether one of these places is in the body.
  let hasKeyInBody: Bool
  /// The status that means "accepted" for these clients.
  let acceptedStatus: Int
  /// The answer to an accepted payload, with that status.
  let accepted: @Sendable (Accepted) -> Reply
  /// Bytes of that answer for each event, if events are counted. They count against the node's limit together with the
  /// payload.
  let answerBytesPerEvent: Int
  /// The answer to a client that only asked whether its key is active, if it is.
  let active: @Sendable (_ account: String) -> Reply
  /// The statuses for answers after which only the client may send the payload again.
  let unrepeated: UnrepeatedStatuses
  /// The wording of all other answers.
  let failed: @Sendable (AnswerFacts, MediaType) -> AnswerBody

  init(
    name: String, routes: [Route], keys: [KeyPlace], acceptedStatus: Int,
    accepted: @escaping @Sendable (Accepted) -> Reply, answerBytesPerEvent: Int = 0,
    active: @escaping @Sendable (_ account: String) -> Reply = { _ in Reply.empty }, unrepeated: UnrepeatedStatuses,
    failed: @escaping @Sendable (AnswerFacts, MediaType) -> AnswerBody
  ) {
    self.name = name
    self.routes = routes
    self.keys = keys
    hasKeyInBody = keys.contains { if case .envelopeDSN = $0 { true } else { false } }
    self.acceptedStatus = acceptedStatus
    self.accepted = accepted
    self.answerBytesPerEvent = answerBytesPerEvent
    self.active = active
    self.unrepeated = unrepeated
    self.failed = failed
  }
}

/// A path that is served, and its purpose.
struct Route: Sendable {
  enum Purpose: Sendable, Equatable {
    /// A payload.
    case push
    /// A payload of several events, each of which gets a status. So the body is read to count them.
    case batch
    /// The request only asks whether the key is active; a body is read and discarded.
    case probe
    /// A browser asks whether it may send a request from another site.
    case preflight
  }

  let method: RequestHead.Method
  let path: PathPattern
  let purpose: Purpose

  static func push(_ path: PathPattern) -> Route { Route(method: .post, path: path, purpose: .push) }
  static func batch(_ path: PathPattern) -> Route { Route(method: .post, path: path, purpose: .batch) }
  static func probe(_ method: RequestHead.Method, _ path: PathPattern) -> Route {
    Route(method: method, path: path, purpose: .probe)
  }
  static func preflight(_ path: PathPattern) -> Route { Route(method: .options, path: path, purpose: .preflight) }
}

/// A path in which `*` stands for one segment that isn't empty, and `**` at the end for any rest that isn't.
struct PathPattern: Sendable, ExpressibleByStringLiteral {
  private let pattern: StaticString
  private let isLiteral: Bool

  init(stringLiteral pattern: StaticString) {
    self.pattern = pattern
    isLiteral = pattern.withUTF8Buffer { !$0.contains(UInt8(ascii: "*")) }
  }

  /// Compares the path as sent, without decoding: `%2f` is no slash.
  func matches(_ path: Range<Int>, in bytes: RawSpan) -> Bool {
    if isLiteral { return bytes.equals(pattern, at: path) }
    let (pattern, count) = (pattern.utf8Start, pattern.utf8CodeUnitCount)
    var at = path.lowerBound
    var place = 0
    while place < count {
      if pattern[place] == UInt8(ascii: "*") {
        if place + 1 < count, pattern[place + 1] == UInt8(ascii: "*") { return at < path.upperBound }
        let start = at
        while at < path.upperBound, bytes.byte(at) != UInt8(ascii: "/") { at += 1 }
        guard at > start else { return false }
      } else {
        guard at < path.upperBound, bytes.byte(at) == pattern[place] else { return false }
        at += 1
      }
      place += 1
    }
    return at == path.upperBound
  }
}

/// The facts that the answer to an accepted payload depends on.
struct Accepted: Sendable {
  let id: EnvelopeID
  let media: MediaType
  /// The number of events in the payload, if the route counts them.
  let events: Int?
}

/// The answer to an accepted request. The parts that are the same each time are formatted already.
struct Reply: Sendable {
  enum Body {
    /// The template's own body.
    case asLaidOut
    case bytes([UInt8])
    /// `{"id":"…"}`, written into the output without a buffer of its own.
    case id(EnvelopeID)
  }

  let template: Response
  var body = Body.asLaidOut

  static let empty = Reply(template: AnswerBody("application/json", "{}").response(status: 200))

  /// Appends the reply to a connection's output.
  func write(_ framing: ResponseFraming, to output: inout ByteBuffer) {
    switch body {
    case .asLaidOut:
      output.writeWithOutputRawSpan(minimumWritableBytes: template.capacity()) { template.write(framing, to: &$0) }
    case .bytes(let body): write(body.span.bytes, framing, to: &output)
    case .id(let id): id.withObject { write($0.bytes, framing, to: &output) }
    }
  }

  private func write(_ body: RawSpan, _ framing: ResponseFraming, to output: inout ByteBuffer) {
    output.writeWithOutputRawSpan(minimumWritableBytes: template.capacity(body: body.byteCount)) {
      template.write(framing, body: body, to: &$0)
    }
  }
}

/// The body of an answer, for any status.
struct AnswerBody: Sendable {
  var mediaType: String
  var body: [UInt8]
  var fields: [(name: String, value: String)]

  init(_ mediaType: String, _ body: [UInt8], fields: [(name: String, value: String)] = []) {
    self.mediaType = mediaType
    self.body = body
    self.fields = fields
  }

  init(_ mediaType: String, _ body: String, fields: [(name: String, value: String)] = []) {
    self.init(mediaType, Array(body.utf8), fields: fields)
  }

  /// - Parameter more: Fields that don't depend on the dialect.
  func response(status: Int, adding more: [(name: String, value: String)] = []) -> Response {
    var laidOut = ResponseFields()
    for (name, value) in [("content-type", mediaType)] + fields + more {
      do throws(InvalidResponseField) { try laidOut.append(name, value) } catch {
        // All names and values are constants of this module, or numbers.
        preconditionFailure("\(error)")
      }
    }
    return Response(status: status, fields: laidOut, body: body)
  }
}

/// A body's media type, distinguished only as far as some dialect needs it.
enum MediaType: Sendable, Equatable {
  case json, protobuf, msgpack, other

  init(_ label: Range<Int>?, in bytes: RawSpan) {
    guard let label else {
      self = .other
      return
    }
    let end =
      label.first { bytes.byte($0) == UInt8(ascii: ";") || bytes.byte($0) == UInt8(ascii: " ") } ?? label.upperBound
    func isLabel(_ word: StaticString) -> Bool { bytes.matches(word, at: label.lowerBound..<end) }
    if isLabel("application/json") {
      self = .json
    } else if isLabel("application/x-protobuf") || isLabel("application/protobuf") {
      self = .protobuf
    } else if isLabel("application/msgpack") || isLabel("application/x-msgpack") {
      self = .msgpack
    } else {
      self = .other
    }
  }
}
