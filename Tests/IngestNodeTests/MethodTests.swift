// Methods and paths: which are served, which aren't, and HEAD, whose answer has no body.

import IngestQueue
import Testing

@testable import IngestNode

@Suite struct MethodTests {
  @Test(arguments: ["GET", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "post", "REPORT"])
  func `a path that is served with another method says with which`(method: String) throws {
    let client = EmbeddedClient()
    client.send(.request("\(method) /v1/push HTTP/1.1", ["X-API-Key: good"]) + .post())
    let answers = try client.answers()
    #expect(answers.map(\.status) == [405, 202])
    #expect(answers[0]["allow"] == "POST" && answers[1]["allow"] == nil)
    #expect(try answers[0].json()["error"] as? String == "method_not_allowed")
    #expect(client.gate.pushes.count == 1 && client.gate.asked.isEmpty)
  }

  @Test func `all methods of a path are named, whatever dialects they are in`() throws {
    let client = EmbeddedClient()
    client.send(.request("DELETE /1/auth HTTP/1.1", []))
    #expect(try client.answer()["allow"] == "GET, POST")
    let sentry = EmbeddedClient()
    sentry.send(.request("GET /api/1/store/ HTTP/1.1", []))
    #expect(try sentry.answer()["allow"] == "OPTIONS, POST")
  }

  @Test(arguments: [
    "/", "/v1", "/v1/", "/v2/push", "/1/batch/", "/1/batch/a/b", "/api//store/", "/v1%2fpush", "http://h",
  ])
  func `a path that isn't served is told so with any method`(path: String) throws {
    for method in ["GET", "POST", "OPTIONS", "REPORT"] {
      let client = EmbeddedClient()
      client.send(.request("\(method) \(path) HTTP/1.1", ["X-API-Key: good"]))
      let answer = try client.answer()
      #expect(answer.status == 404 && answer["allow"] == nil && client.isOpen)
    }
  }

  @Test func `the asterisk is no path of ours`() throws {
    let client = EmbeddedClient()
    client.send(.request("OPTIONS * HTTP/1.1", []))
    #expect(try client.statuses() == [404])
  }

  @Test func `a whole URI is read for its path`() throws {
    let client = EmbeddedClient()
    client.send(.request("POST http://sluice.example/v1/traces?api_key=good HTTP/1.1", ["Content-Length: 0"]))
    #expect(try client.statuses() == [200])
    #expect(client.gate.pushes.map(\.request.members.text) == [#","path":"/v1/traces""#])
  }

  @Test func `HEAD has the length and not the body, and what comes behind it is in step`() throws {
    let client = EmbeddedClient()
    client.send(.request("HEAD /nowhere HTTP/1.1", []) + .request("HEAD /1/auth HTTP/1.1", []) + .post())
    let answers = try client.answers(heads: [0, 1])
    #expect(answers.map(\.status) == [404, 405, 202])
    #expect(answers[0]["content-length"].flatMap { Int($0) } ?? 0 > 0)
  }

  @Test func `a question by GET is answered`() throws {
    let client = EmbeddedClient()
    client.send(.request("GET /1/auth HTTP/1.1", ["X-Honeycomb-Team: good"]))
    client.send(.request("GET /1/auth HTTP/1.1", ["X-Honeycomb-Team: bad"]))
    client.send(.request("GET /1/auth HTTP/1.1", []))
    #expect(try client.statuses() == [200, 401, 400])
    #expect(client.gate.pushes.isEmpty)
  }

  @Test func `a browser that asks first is answered without a key, and its body is nobody's`() throws {
    for path in ["/api/1/envelope/", "/api/1/store/"] {
      let client = EmbeddedClient(budget: 0)
      client.send(.request("OPTIONS \(path) HTTP/1.1", ["Content-Length: 3"]) + "abc")
      let answer = try client.answer()
      #expect(answer.status == 200 && answer["access-control-allow-origin"] == "*")
      #expect(client.gate.asked.isEmpty && client.gate.pushes.isEmpty && client.isOpen)
    }
  }
}
