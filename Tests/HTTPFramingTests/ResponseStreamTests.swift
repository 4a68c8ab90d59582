// Whole connections: pipelines of valid and broken requests, answered early, late and in between. What comes back is
// read by h11, another author's parser, and each response must be the one to its request; what a request is, is known
// from how it was made.

import FramingOracle
import Foundation
import HTTPFraming
import RedisFixture
import Testing

@Suite struct ResponseStreamTests {
  private struct Exchange {
    var requests: [GeneratedRequest]
    /// The last request, if it is broken.
    var refusals: Set<ProtocolError>?
    var server: EchoServer
  }

  private struct Question: Encodable {
    var methods: [String]
    var stream: Data
  }

  private struct Reading: Decodable {
    struct Response: Decodable {
      var status: Int
      var id: String
      var connection: String
      var length: Int
      var body: String
      var invitations: Int
    }

    var responses: [Response]
    var objection: String?
  }

  private static let limits = RequestLimits(drainBytes: 60, requests: 5)

  @Test func `every response is the one to its request`() async throws {
    var generator = SeededGenerator.announced()
    var exchanges: [Exchange] = []
    for _ in 0..<2_000 {
      var requests: [GeneratedRequest] = []
      var stream: [UInt8] = []
      for index in 0..<Int.random(in: 1...7, using: &generator) {
        requests.append(
          GeneratedRequest(id: "\(index)-\(Int.random(in: 0...999_999, using: &generator))", using: &generator))
        stream += requests[index].bytes
      }
      var refusals: Set<ProtocolError>?
      if Int.random(in: 0..<3, using: &generator) == 0 {
        let request = GeneratedRequest(id: "broken", using: &generator)
        let broken = request.broken(using: &generator)
        requests.append(request)
        refusals = broken.refusals
        // What follows a broken request must not be read, least of all as a request.
        stream += broken.bytes + GeneratedRequest(id: "never", using: &generator).bytes
      }
      exchanges.append(
        Exchange(
          requests: requests, refusals: refusals, server: EchoServer(stream, limits: Self.limits, using: &generator)))
    }

    let readings = try await Self.read(exchanges)
    try #require(readings.count == exchanges.count)
    var refused = 0
    var complete = 0
    for (exchange, reading) in zip(exchanges, readings) {
      if let fault = Self.fault(exchange, reading) {
        let written = String(decoding: exchange.server.written, as: UTF8.self)
        Issue.record("seed \(generator.seed): \(fault); \(written.debugDescription)")
        return
      }
      if exchange.server.refusal != nil { refused += 1 }
      if reading.responses.count == exchange.requests.count { complete += 1 }
    }
    // Where nothing is refused, or everything ends early, nothing is tested.
    #expect(refused > 100 && complete > 300, "\(refused) refused, \(complete) to the end")
  }

  /// The problem with the received responses; nil if there is none.
  private static func fault(_ exchange: Exchange, _ reading: Reading) -> String? {
    if let misdeed = exchange.server.misdeed { return misdeed }
    if let objection = reading.objection { return objection }
    if !exchange.server.isClosed { return "the connection never ends" }
    if reading.responses.count != exchange.server.answered.count + (exchange.server.refusal == nil ? 0 : 1) {
      return "h11 reads \(reading.responses.count) responses, and the server wrote \(exchange.server.answered.count)"
    }
    for (index, response) in reading.responses.enumerated() {
      let request = exchange.requests[index]
      let isLastResponse = index == reading.responses.count - 1
      if response.id == "refused" {
        guard let refusals = exchange.refusals, index == exchange.requests.count - 1 else {
          return "a valid request is refused: \(exchange.server.refusal.map { "\($0)" } ?? "")"
        }
        guard let refusal = exchange.server.refusal, refusals.contains(refusal) else {
          return "it is refused as another"
        }
        guard response.status == refusal.status, response.connection == "close" else {
          return "a refusal doesn't close"
        }
      } else {
        guard response.id == request.id, response.status == 200 else {
          return "request \(request.id) gets the response to \(response.id)"
        }
        guard response.length == "echo \(request.id)".utf8.count else { return "a wrong length" }
        guard response.body == (request.method == "HEAD" ? "" : "echo \(request.id)") else { return "a wrong body" }
        let whole = exchange.server.answered[index].whole
        if whole, request.waits, response.invitations != 1 { return "no invitation to send a body, or several" }
        if !request.waits, response.invitations != 0 { return "an invitation that nobody waited for" }
        if request.isLast || index == limits.requests - 1 {
          guard response.connection == "close" else { return "the last response doesn't say so" }
        } else if whole {
          guard response.connection == (request.version == .http10 ? "keep-alive" : "") else {
            return "a needless close"
          }
        }
      }
      if isLastResponse != (response.connection == "close"), index != exchange.requests.count - 1 {
        return isLastResponse ? "a request is not answered" : "a response comes after the last one"
      }
    }
    return nil
  }

  /// Has h11 read what the servers wrote.
  private static func read(_ exchanges: [Exchange]) async throws -> [Reading] {
    let encoder = JSONEncoder()
    var questions = Data()
    for exchange in exchanges {
      questions += try encoder.encode(
        Question(methods: exchange.requests.map(\.method), stream: Data(exchange.server.written)))
      questions.append(0x0A)
    }
    let output = try PythonPackage(name: "h11", version: "0.16.0").run("read_responses.py", input: questions)
    let decoder = JSONDecoder()
    return try output.split(separator: 0x0A).map { try decoder.decode(Reading.self, from: $0) }
  }
}
