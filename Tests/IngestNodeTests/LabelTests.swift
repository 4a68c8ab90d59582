// The headers that describe the body are kept with the payload before it is known whether the key is active. Their size
// is limited.

import HTTPFraming
import IngestQueue
import Testing

@testable import IngestNode

@Suite struct LabelTests {
  private static let names = [
    (header: "Content-Type", member: "content_type"), (header: "Content-Encoding", member: "content_encoding"),
    (header: "traceparent", member: "traceparent"),
  ]

  @Test(arguments: names) func `a label of 1 KiB is kept, and a longer one counts as absent`(
    name: (header: String, member: String)
  ) throws {
    for (length, isKept) in [(1, true), (1 << 10, true), (1 << 10 | 1, false), (15 << 10, false)] {
      let client = EmbeddedClient()
      let label = String.filler(length)
      client.send(.post("\(name.header): \(label)"))
      #expect(try client.statuses() == [202], "the payload is taken all the same")
      let members = try #require(client.gate.pushes.first).request.members.text
      #expect(members.contains(#""\#(name.member)":"\#(label)""#) == isKept)
      #expect(members.contains(name.member) == isKept, "nothing is cut off")
    }
  }

  @Test func `a head that is full of what isn't UTF-8 makes little to be kept`() throws {
    let client = EmbeddedClient()
    var request = Array("POST /v1/push HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer good\r\nContent-Length: 0\r\n".utf8)
    for (header, _) in Self.names {
      request += Array("\(header): ".utf8) + Array(repeating: 0xFF, count: 5_000) + Array("\r\n".utf8)
    }
    client.send(request + Array("\r\n".utf8))
    #expect(try client.statuses() == [202])
    #expect(try #require(client.gate.pushes.first).request.members.text == #","path":"/v1/push""#)
  }

  @Test func `a batch whose label is too long is read as one without`() throws {
    let client = EmbeddedClient()
    func batch(_ type: String) -> String {
      .post(to: "/1/batch/set", key: nil, "X-Honeycomb-Team: good", "Content-Type: \(type)", body: "[1,2]")
    }
    client.send(batch("application/json") + batch("application/json;" + .filler(1 << 10)))
    client.send(.post(to: "/1/batch/set", key: nil, "X-Honeycomb-Team: good", body: "[1,2]"))
    let answers = try client.answers()
    #expect(answers.count == 3 && answers[0].status == 200)
    #expect(answers[1].status == answers[2].status && answers[1].body == answers[2].body)
  }
}
