// How the tests of single faults and features read: each stream at once, cut in two at every place, and byte by byte,
// which must make no difference; and by NIO's decoder, which must not disagree.

import FramingOracle
import HTTPFraming
import Testing

/// What the machine says to a stream.
func reading(
  _ stream: String, limits: RequestLimits = RequestLimits(), ends: Bool = false,
  early: @escaping (Int) -> Bool = { _ in false },
  sourceLocation: SourceLocation = #_sourceLocation
) -> Transcript {
  reading(Array(stream.utf8), limits: limits, ends: ends, early: early, sourceLocation: sourceLocation)
}

func reading(
  _ stream: [UInt8], limits: RequestLimits = RequestLimits(), ends: Bool = false,
  early: @escaping (Int) -> Bool = { _ in false }, sourceLocation: SourceLocation = #_sourceLocation
) -> Transcript {
  let whole = Transcript(of: stream, limits: limits, ends: ends, early: early)
  #expect(whole.misdeed == nil, sourceLocation: sourceLocation)
  let bytewise = Transcript(of: stream, inPiecesOf: [1], limits: limits, ends: ends, early: early)
  #expect(bytewise == whole, "byte by byte", sourceLocation: sourceLocation)
  for cut in stream.indices.dropFirst() {
    let inTwo = Transcript(of: stream, inPiecesOf: [cut, .max], limits: limits, ends: ends, early: early)
    #expect(inTwo == whole, "cut at \(cut)", sourceLocation: sourceLocation)
  }
  if case .different(let what) = FramingComparison(Transcript(of: stream, limits: limits), NIOReading(of: stream)) {
    Issue.record("NIO disagrees about \(what)", sourceLocation: sourceLocation)
  }
  return whole
}

/// What a stream is refused with, having closed the connection after the answer.
func refusal(
  of stream: String, limits: RequestLimits = RequestLimits(), sourceLocation: SourceLocation = #_sourceLocation
) -> ProtocolError? {
  let transcript = reading(stream, limits: limits, ends: true, sourceLocation: sourceLocation)
  guard let refusal = transcript.refusal else { return nil }
  let index = transcript.events.firstIndex { if case .refused = $0 { true } else { false } }!
  guard case .refused(_, let framing) = transcript.events[index] else { return nil }
  #expect(framing.persistence == .close, sourceLocation: sourceLocation)
  #expect(transcript.events[(index + 1)...].elementsEqual([.outputClosed, .closed]), sourceLocation: sourceLocation)
  return refusal
}

extension String {
  /// A request of these lines, with no body.
  static func request(_ line: String, _ fields: String...) -> String {
    ([line] + fields).map { "\($0)\r\n" }.joined() + "\r\n"
  }
}

extension ReadRequest {
  var methodText: String { String(decoding: method, as: UTF8.self) }
  var targetText: String { String(decoding: target, as: UTF8.self) }
  var pathText: String { String(decoding: path, as: UTF8.self) }
  var queryText: String? { query.map { String(decoding: $0, as: UTF8.self) } }
  var bodyText: String { String(decoding: body, as: UTF8.self) }
  var fieldTexts: [String] {
    fields.map { "\(String(decoding: $0.name, as: UTF8.self))|\(String(decoding: $0.value, as: UTF8.self))" }
  }
}
