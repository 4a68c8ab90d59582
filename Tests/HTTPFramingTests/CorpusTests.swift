// The raw requests of gunicorn's own tests, valid and invalid: `Scripts/http-corpus` fetches them and runs this. Each
// is read as gunicorn reads it, or stands in the table of deviations with what we do instead and why; an entry that
// isn't needed any more fails too.
//
// Most of these requests are of HTTP/1.1 and have no Host, which we refuse. So that they still show something, such a
// stream is read a second time with a Host in each head, and what counts is what is said then.

import FramingOracle
import Foundation
import HTTPFraming
import Testing

@Suite(.enabled(if: ProcessInfo.processInfo.environment["SLUICE_HTTP_CORPUS"] != nil, "Scripts/http-corpus runs this"))
struct CorpusTests {
  private struct Corpus: Decodable {
    var valid: [Valid]
    var invalid: [Invalid]
  }

  private struct Valid: Decodable {
    struct Request: Decodable {
      struct Field: Decodable {
        var name: String
        var value: Data
      }

      var method: String
      var target: Data
      var minor: Int
      var fields: [Field]
      var body: Data
    }

    var name: String
    var stream: Data
    var requests: [Request]
  }

  private struct Invalid: Decodable {
    var name: String
    var stream: Data
    var error: String
  }

  private enum Outcome: Equatable, CustomStringConvertible {
    /// So many requests are whole, and nothing is refused.
    case taken(Int)
    case refused(ProtocolError)

    var description: String {
      switch self {
      case .taken(let count): "taken(\(count))"
      case .refused(let refusal): "refused(\(refusal))"
      }
    }
  }

  private struct Deviation {
    var outcome: Outcome
    var reason: String

    init(_ outcome: Outcome, _ reason: String) {
      self.outcome = outcome
      self.reason = reason
    }
  }

  // MARK: The table

  private static let codings =
    "RFC 9112 §6.1: chunked is the only coding understood here, so 501; gunicorn ignores the others"
  private static let folding =
    "RFC 9112 §5.2 lets a server refuse it; gunicorn does too without permit_obsolete_folding"
  private static let proxyProtocol = "the PROXY protocol isn't spoken here; gunicorn does with proxy_protocol only"
  private static let connect = "this is no proxy, and 501 says so; gunicorn leaves it to the application"
  private static let underscores =
    "an underscore is a token character, and names aren't mapped to variables here, where it would meet the hyphen"

  /// Valid to gunicorn, and not as gunicorn has it to us.
  private static let deviationsOfValid: [String: Deviation] = [
    "005": Deviation(
      .refused(.invalidTarget), "RFC 9112 §3.2: a target has no fragment; where the path ends is ambiguous"),
    "025": Deviation(.refused(.unknownTransferCoding), codings),
    "025_line": Deviation(.refused(.unknownTransferCoding), codings),
    "028": Deviation(
      .refused(.whitespaceBeforeColon), "RFC 9112 §5.1 forbids it; gunicorn takes it with strip_header_spaces only"),
    "029": Deviation(.refused(.unknownTransferCoding), codings),
    "030": Deviation(.refused(.unknownTransferCoding), codings),
    "031compat": Deviation(
      .taken(1), "methods are case-sensitive; gunicorn changes the case with casefold_http_method only"),
    "040": Deviation(.taken(1), "\(underscores); gunicorn drops such lines"),
    "099": Deviation(
      .taken(0), "its Content-Length is larger than its body, which gunicorn takes as it is where input ends"),
    "compat_obs_fold": Deviation(.refused(.foldedField), folding),
    "compat_obs_fold_huge": Deviation(.refused(.foldedField), folding),
    "pp_01": Deviation(.refused(.unfitTarget), proxyProtocol),
    "pp_02": Deviation(.refused(.unfitTarget), proxyProtocol),
    "pp_04": Deviation(.refused(.emptyLines), proxyProtocol),
    "pp_05": Deviation(.refused(.emptyLines), proxyProtocol),
    "rfc9112_smuggle_gzip_chunked_01": Deviation(.refused(.unknownTransferCoding), codings),
    "rfc9112_smuggle_te_identity_chunked_01": Deviation(.refused(.unknownTransferCoding), codings),
    "rfc9112_target_absolute_userinfo_01": Deviation(
      .refused(.invalidTarget), "RFC 9110 §4.2.4: user information from elsewhere is to be treated as an error"),
    "rfc9112_target_authority_connect_01": Deviation(.refused(.connectMethod), connect),
    "rfc9112_target_authority_ipv6_01": Deviation(.refused(.connectMethod), connect),
  ]

  /// Invalid to gunicorn, and taken by us.
  private static let deviationsOfInvalid: [String: Deviation] = [
    "003c": Deviation(
      .taken(1), "RFC 9110 §9.1: any token is a method; gunicorn has narrower rules of its own for their names"),
    "019": Deviation(.taken(1), "X-Forwarded-… frames nothing, and is believed from trusted proxies only"),
    "040": Deviation(.taken(1), "\(underscores); gunicorn refuses with header_map=refuse only"),
    "041": Deviation(.taken(1), "Content-Type doesn't frame anything; the first one is handed out"),
    "chunked_07": Deviation(.taken(1), "\(underscores); gunicorn refuses with header_map=refuse only"),
  ]

  /// Where a request is about a limit, ours is set to gunicorn's, or to that of the test.
  private static let limits: [String: RequestLimits] = [
    "valid/024": RequestLimits(requestLineBytes: 8202),
    "invalid/006": RequestLimits(requestLineBytes: 4096),
    "invalid/007": RequestLimits(headerBytes: 8190),
    "invalid/008": RequestLimits(headerBytes: 8190),
    "invalid/010": RequestLimits(headerBytes: 10),
    "invalid/011": RequestLimits(fieldCount: 2),
    "invalid/012": RequestLimits(headerBytes: 98),
    "invalid/017": RequestLimits(headerBytes: 8190),
    "invalid/limit_header_default_01": RequestLimits(headerBytes: 8190),
  ]

  // MARK: The test

  @Test func `gunicorn's requests are read as gunicorn reads them, or as the table says`() throws {
    let path = try #require(ProcessInfo.processInfo.environment["SLUICE_HTTP_CORPUS"])
    let corpus = try JSONDecoder().decode(Corpus.self, from: Data(contentsOf: URL(filePath: path)))
    var wrong: [String] = []
    for stream in corpus.valid {
      let (transcript, hostAdded) = Self.transcript(of: stream.stream, name: "valid/\(stream.name)")
      let outcome = Self.outcome(transcript)
      let difference = Self.difference(transcript, stream.requests, hostAdded: hostAdded)
      if let deviation = Self.deviationsOfValid[stream.name] {
        if outcome != deviation.outcome || difference == nil {
          wrong.append("valid/\(stream.name): \(outcome), \(difference ?? "as gunicorn has it"), unlike the table")
        }
      } else if let difference {
        wrong.append("valid/\(stream.name): \(outcome), \(difference)")
      }
    }
    for stream in corpus.invalid {
      let (transcript, _) = Self.transcript(of: stream.stream, name: "invalid/\(stream.name)")
      let outcome = Self.outcome(transcript)
      if let deviation = Self.deviationsOfInvalid[stream.name] {
        if outcome != deviation.outcome { wrong.append("invalid/\(stream.name): \(outcome), unlike the table") }
      } else if case .taken(let count) = outcome, transcript.phase != .closed || count > 0 {
        // A request that is never whole is never answered, which is refusal enough.
        wrong.append("invalid/\(stream.name): \(outcome), and gunicorn says \(stream.error)")
      }
    }
    for name in Self.deviationsOfValid.keys where !corpus.valid.contains(where: { $0.name == name }) {
      wrong.append("valid/\(name) is in the table and not in the corpus")
    }
    for name in Self.deviationsOfInvalid.keys where !corpus.invalid.contains(where: { $0.name == name }) {
      wrong.append("invalid/\(name) is in the table and not in the corpus")
    }
    #expect(wrong.isEmpty, "\(wrong.joined(separator: "\n"))")
    if wrong.isEmpty {
      print("corpus: \(corpus.valid.count) valid and \(corpus.invalid.count) invalid streams are as expected")
      for (kind, table) in [("valid", Self.deviationsOfValid), ("invalid", Self.deviationsOfInvalid)] {
        for (name, deviation) in table.sorted(by: { $0.key < $1.key }) {
          print("  \(kind)/\(name): \(deviation.outcome), since \(deviation.reason)")
        }
      }
    }
  }

  /// Reads a stream, the second time with a Host where that was all that it lacked.
  private static func transcript(of stream: Data, name: String) -> (Transcript, hostAdded: Bool) {
    let limits = limits[name] ?? RequestLimits()
    let transcript = Transcript(of: Array(stream), limits: limits, ends: true)
    #expect(transcript == Transcript(of: Array(stream), inPiecesOf: [1], limits: limits, ends: true), "byte by byte")
    guard transcript.refusal == .missingHost else { return (transcript, false) }
    let lineEnd = Data(" HTTP/1.1\r\n".utf8)
    var whole = Data()
    var rest = stream
    while let found = rest.firstRange(of: lineEnd) {
      whole += rest[..<found.upperBound] + Data("Host: h\r\n".utf8)
      rest = rest[found.upperBound...]
    }
    whole += rest
    return (Transcript(of: Array(whole), limits: limits, ends: true), true)
  }

  private static func outcome(_ transcript: Transcript) -> Outcome {
    transcript.refusal.map { .refused($0) } ?? .taken(transcript.requests.count { $0.isWhole })
  }

  /// How what was read differs from what gunicorn reads; nil if it doesn't.
  private static func difference(_ transcript: Transcript, _ expected: [Valid.Request], hostAdded: Bool) -> String? {
    guard transcript.refusal == nil else { return "and gunicorn takes it" }
    guard transcript.requests.count == expected.count else { return "and gunicorn reads \(expected.count) requests" }
    for (ours, theirs) in zip(transcript.requests, expected) {
      var fields = ours.fields
      if hostAdded { fields.removeAll { $0.name == Array("Host".utf8) } }
      guard ours.isWhole else { return "the request isn't whole" }
      guard ours.methodText == theirs.method else { return "the method differs" }
      guard Data(ours.target) == theirs.target else { return "the target differs" }
      guard (ours.version == .http11 ? 1 : 0) == theirs.minor else { return "the version differs" }
      guard Data(ours.body) == theirs.body else { return "the body differs" }
      // gunicorn gives names in upper case.
      guard fields.map({ String(decoding: $0.name, as: UTF8.self).uppercased() }) == theirs.fields.map(\.name) else {
        return "the names of the header differ"
      }
      guard fields.map({ Data($0.value) }) == theirs.fields.map(\.value) else {
        return "the values of the header differ"
      }
    }
    return nil
  }
}
