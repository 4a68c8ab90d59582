// Whole connections: pipelines of requests in all dialects, valid ones and one that is broken, cut at random places;
// the push handler answers at random moments, the client reads its answers or doesn't, and stops sending when it likes.
// What comes back is read by h11, another author's parser, and each answer must be the one to its request: one too
// many, one too few or one in another's place is what this node must never do.

import FramingOracle
import Foundation
import HTTPFraming
import Listening
import NIOCore
import RedisFixture
import Testing

@testable import IngestNode

@Suite struct AnswerStreamTests {
  /// What happened on one connection.
  private struct Conversation {
    var requests: [PlannedRequest]
    /// The method of the last request and what it may be refused with, if it is broken.
    var broken: (method: String, refusals: Set<ProtocolError>)?
    var limits: RequestLimits
    var wasStopping = false
    var stream: [UInt8] = []
    /// The Idempotency-Keys and bodies of what was pushed.
    var pushed: [(id: String, body: [UInt8])] = []
    var isClosed = false
    var budgetUsed = 0

    var methods: [String] { requests.map(\.request.method) + (broken.map { [$0.method] } ?? []) }
  }

  private struct Question: Encodable {
    var methods: [String]
    var stream: Data
  }

  fileprivate struct Reading: Decodable {
    struct Answer: Decodable {
      var status: Int
      var connection: String
      var type: String
      var length: Int
      var body: Data
      var invitations: Int
    }

    var answers: [Answer]
    var objection: String?
  }

  @Test func `every answer is the one to its request`() throws {
    var generator = SeededGenerator.announced()
    let conversations = (0..<2_000).map { _ in Self.conversation(using: &generator) }
    let readings = try Self.read(conversations)
    try #require(readings.count == conversations.count)
    var kinds: [Int: Int] = [:]
    var complete = 0
    for (conversation, reading) in zip(conversations, readings) {
      if let fault = Self.fault(conversation, reading) {
        let text = String(decoding: conversation.stream, as: UTF8.self).debugDescription
        let sent = conversation.requests.map {
          "\($0.request.method) \($0.request.target) \($0.request.kind) \($0.expected)"
        }
        Issue.record("seed \(generator.seed): \(fault); \(text); \(sent)")
        return
      }
      for answer in reading.answers { kinds[answer.status, default: 0] += 1 }
      if reading.answers.count == conversation.methods.count { complete += 1 }
    }
    // Where everything is refused, or everything ends early, nothing is tested.
    #expect(complete > 500, "\(complete) to the end")
    for status in [200, 202, 400, 401, 403, 404, 405, 413, 503] {
      #expect(kinds[status, default: 0] > 30, "\(status): \(kinds[status, default: 0])")
    }
    #expect(kinds[500] == nil && kinds[402] == nil && kinds[406] == nil && kinds[429] == nil)
  }

  private static func conversation(using generator: inout SeededGenerator) -> Conversation {
    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &generator) < percent }

    let limits = RequestLimits(
      bodyBytes: chance(80) ? 1000 : 150, drainBytes: chance(50) ? 1000 : 60, requests: chance(80) ? 100 : 3)
    let budget = chance(80) ? 1000 : 120
    var stream: [UInt8] = []
    var conversation = Conversation(requests: [], limits: limits)
    let client = EmbeddedClient(
      limits: limits, budget: budget,
      readSize: [1, 20, 20, 300, 300, 300, 5000, 5000].randomElement(using: &generator)!)
    for index in 0..<Int.random(in: 1...7, using: &generator) {
      let request = PlannedRequest(
        id: "\(index)-\(Int.random(in: 0...999_999, using: &generator))", limits: limits, budget: budget,
        using: &generator)
      request.script(client.gate)
      stream += request.request.bytes
      conversation.requests.append(request)
    }
    if chance(25) {
      let request = GeneratedRequest(id: "broken", using: &generator)
      let (bytes, refusals) = request.broken(using: &generator)
      conversation.broken = (request.method, refusals)
      // What follows a broken request must not be read, least of all as a request.
      stream += bytes + Array(String.post("Idempotency-Key: never").utf8)
    }

    var rest = stream[...]
    let longest = [10, 100, 1000, 3000].randomElement(using: &generator)!
    while !rest.isEmpty || client.gate.unsaid > 0 {
      switch Int.random(in: 0..<10, using: &generator) {
      case 0..<5 where !rest.isEmpty:
        let piece = rest.prefix(Int.random(in: 1...longest, using: &generator))
        client.send(piece)
        rest = rest.dropFirst(piece.count)
      case 5, 6: if client.gate.unsaid > 0 { client.gateSays() }
      case 7: client.stopReading()
      case 8: client.readAgain()
      default:
        if !rest.isEmpty { break }
        if chance(20) { client.halfClose() }
        if chance(3) {
          client.stopping.set()
          conversation.wasStopping = true
        }
      }
    }
    client.readAgain()
    client.halfClose()
    conversation.stream = client.stream
    conversation.isClosed = !client.isOpen
    conversation.budgetUsed = client.budget.used
    conversation.pushed = client.gate.pushes.map {
      (String(decoding: $0.request.idempotencyKey ?? [], as: UTF8.self), Array($0.request.body.readableBytesView))
    }
    return conversation
  }

  /// The problem with a connection; nil if there is none.
  private static func fault(_ conversation: Conversation, _ reading: Reading) -> String? {
    if let objection = reading.objection { return objection }
    if !conversation.isClosed { return "the connection never ends" }
    if conversation.budgetUsed != 0 { return "\(conversation.budgetUsed) bytes are never given back" }
    var pushed: [(id: String, body: [UInt8])] = []
    for (index, answer) in reading.answers.enumerated() {
      let isLastAnswer = index == reading.answers.count - 1
      if index == conversation.requests.count {
        // h11 reads no more answers than there are requests.
        guard let broken = conversation.broken else { return "an answer to nothing" }
        guard answer.connection == "close" else { return "a broken request doesn't end the connection" }
        guard let refusal = broken.refusals.first(where: { $0.status == answer.status }) else {
          return "a broken request is answered \(answer.status)"
        }
        let mark = refusal == .bodyTooLarge ? "too_large" : refusal.rawValue
        if broken.method != "HEAD", broken.refusals.count == 1, !answer.contains(mark) { return "another refusal" }
        continue
      }
      let planned = conversation.requests[index]
      let isForHead = planned.request.method == "HEAD"
      guard
        let expected = planned.expected.first(where: {
          $0.status == answer.status && (isForHead || answer.contains($0.mark))
        })
      else { return "request \(index) gets \(answer.status) \(String(decoding: answer.body, as: UTF8.self))" }
      if isForHead ? !answer.body.isEmpty : answer.body.count != answer.length { return "a wrong length" }
      if answer.invitations != (planned.isInvited ? 1 : 0) {
        return "request \(index) has \(answer.invitations) invitations"
      }
      if expected.isPushed { pushed.append((planned.request.id, planned.request.body)) }

      let mustClose = planned.request.isLast || index + 1 == conversation.limits.requests || expected.alwaysCloses
      let mayClose =
        mustClose || conversation.wasStopping
        || (expected.isEarly && (planned.request.waits || planned.request.body.count > conversation.limits.drainBytes))
      switch answer.connection {
      case "close": if !mayClose { return "request \(index) ends the connection for nothing" }
      case planned.request.version == .http10 ? "keep-alive" : "":
        if mustClose { return "the last answer doesn't say so" }
      default: return "connection: \(answer.connection)"
      }
      if (answer.connection == "close") != isLastAnswer, index + 1 != conversation.methods.count {
        return isLastAnswer ? "request \(index + 1) isn't answered" : "an answer comes after the last one"
      }
    }
    if reading.answers.isEmpty { return "nothing is answered" }
    guard conversation.pushed.elementsEqual(pushed, by: { $0.id == $1.id && $0.body == $1.body }) else {
      return "\(conversation.pushed.map(\.id)) were pushed, and \(pushed.map(\.id)) were answered"
    }
    return nil
  }

  /// Has h11 read what came back.
  private static func read(_ conversations: [Conversation]) throws -> [Reading] {
    let encoder = JSONEncoder()
    var questions = Data()
    for conversation in conversations {
      questions += try encoder.encode(Question(methods: conversation.methods, stream: Data(conversation.stream)))
      questions.append(0x0A)
    }
    let output = try PythonPackage(name: "h11", version: "0.16.0").run("read_answers.py", input: questions)
    let decoder = JSONDecoder()
    return try output.split(separator: 0x0A).map { try decoder.decode(Reading.self, from: $0) }
  }
}

extension AnswerStreamTests.Reading.Answer {
  /// Whether the text is in the body, whatever the rest of that is.
  fileprivate func contains(_ text: String) -> Bool {
    text.isEmpty || body.range(of: Data(text.utf8)) != nil
  }
}
