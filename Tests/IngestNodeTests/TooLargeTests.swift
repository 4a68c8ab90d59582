// Bodies over the limit are answered as early as possible, in the client's dialect.

import HTTPFraming
import Testing

@testable import IngestNode

@Suite struct TooLargeTests {
  private static let limits = RequestLimits(bodyBytes: 100, drainBytes: 20)

  @Test func `a length that is announced is enough to be told so`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.head(length: 101))
    let answer = try client.answer()
    #expect(answer.status == 413 && answer.closes)
    let body = try answer.json()
    #expect(body["error"] as? String == "too_large" && body["limit"] as? Int == 100)
    #expect(client.gate.asked.isEmpty && client.budget.used == 0)
    client.send(.filler(101) + .post())
    #expect(try client.answers().count == 1)
  }

  @Test func `it is told before an invitation`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.head("Expect: 100-continue", length: 101))
    #expect(try client.statuses() == [413])
  }

  @Test func `as much as the limit is taken`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.post(body: .filler(100)))
    client.send(.chunkedHead() + .chunk(.filler(60)) + .chunk(.filler(40)) + .chunk())
    #expect(try client.statuses() == [202, 202])
    #expect(client.gate.payloads == [.filler(100), .filler(100)])
  }

  @Test func `in chunks it is told in the midst of the body`() throws {
    let client = EmbeddedClient(limits: Self.limits)
    client.send(.chunkedHead() + .chunk(.filler(60)))
    #expect(client.budget.used == 60)
    client.send("29\r\n")
    let answer = try client.answer()
    #expect(answer.status == 413 && answer.closes && client.budget.used == 0)
    #expect(try answer.json()["limit"] as? Int == 100)
    #expect(client.gate.pushes.isEmpty)
  }

  @Test func `it is told in the words and the type of who sent it`() throws {
    for (type, isJSON) in [("application/json", true), ("application/x-protobuf", false)] {
      let announced = EmbeddedClient(limits: Self.limits)
      announced.send(.head(to: "/v1/traces", "Content-Type: \(type)", length: 101))
      let chunked = EmbeddedClient(limits: Self.limits)
      chunked.send(.chunkedHead(to: "/v1/traces", "Content-Type: \(type)") + .chunk(.filler(101)))
      for client in [announced, chunked] {
        let answer = try client.answer()
        #expect(answer.status == 413 && answer["content-type"] == type)
        #expect((answer.body.first == UInt8(ascii: "{")) == isJSON)
        #expect(client.counters.byReason["too_large"] == 1)
      }
    }
    let nowhere = EmbeddedClient(limits: Self.limits)
    nowhere.send(.head(to: "/nowhere", length: 101))
    #expect(try nowhere.answer().json()["error"] as? String == "too_large")
  }
}
