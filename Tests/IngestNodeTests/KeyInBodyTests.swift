// Sentry's clients may have the key in the body: then the body comes first, and the verdict after it.

import HTTPFraming
import KeyReplica
import Testing

@testable import IngestNode

@Suite struct KeyInBodyTests {
  private static func envelope(_ key: String) -> String {
    #"{"event_id":"1","dsn":"https://\#(key)@sentry.example/1"}"# + "\n{}\n"
  }

  @Test func `a key in the body is looked at when its line has come`() throws {
    for key in ["good", "other"] {
      let client = EmbeddedClient()
      client.gate.script("other", .ponders(.admit(account: "b")))
      let body = Self.envelope(key)
      let line = body.prefix { $0 != "\n" }
      client.send(.head(to: "/api/1/envelope/", key: nil, length: body.utf8.count))
      client.send(String(line))
      #expect(client.gate.asked.isEmpty && client.budget.keylessUsed == line.utf8.count)
      client.send("\n")
      if key == "other" { client.gateSays() }
      #expect(client.budget.keylessUsed == 0 && client.budget.used == line.utf8.count + 1)
      #expect(client.stream.isEmpty && client.gate.pushes.isEmpty)
      client.send("{}\n")
      #expect(client.gate.payloads == [body])
      #expect(try client.statuses() == [200])
    }
  }

  @Test func `a body with a key in it is passed on as it is, wherever the request has its key`() throws {
    let body = Self.envelope("good")
    for key in ["good", nil] {
      let client = EmbeddedClient()
      let path = key.map { "/api/1/envelope/?sentry_key=\($0)" } ?? "/api/1/envelope/"
      client.send(.post(to: path, key: nil, body: body))
      #expect(client.gate.payloads == [body])
      #expect(try client.statuses() == [200])
    }
  }

  @Test func `a key that isn't active is refused before the rest of the body comes`() throws {
    let client = EmbeddedClient(limits: RequestLimits(bodyBytes: 16 << 20))
    client.send(.head(to: "/api/1/envelope/", key: nil, length: 16 << 20) + Self.envelope("bad"))
    #expect(try client.statuses() == [401])
    #expect(client.budget.keylessUsed == 0)
  }

  @Test(arguments: [15 << 10, 16 << 10]) func `where no line ends it is looked for in the first 16 KiB`(
    length: Int
  ) throws {
    let client = EmbeddedClient(limits: RequestLimits(bodyBytes: 1 << 20), readSize: 1_000)
    client.send(.head(to: "/api/1/envelope/", key: nil, length: 1 << 20) + .filler(length))
    #expect(client.budget.keylessUsed == (length < 16 << 10 ? length : 0))
    #expect(try client.statuses() == (length < 16 << 10 ? [] : [400]))
    client.reset()
  }

  /// No room is left for bodies without a key, as if strangers used it up.
  private static func withoutRoom() -> EmbeddedClient {
    var limits = ByteBudget.Limits(1 << 20)
    limits.keyless = 0
    return EmbeddedClient(sharing: ByteBudget(limits))
  }

  @Test(arguments: [
    envelope("good"), envelope("good") + .filler(40_000), String(envelope("good").prefix { $0 != "\n" }),
  ]) func `an active key that comes in one read needs no room among bytes without a key`(body: String) throws {
    var requests = [String.post(to: "/api/1/envelope/", key: nil, body: body)]
    // A chunked body may go on, so without a line end its first line isn't known to be complete.
    if body.contains("\n") {
      requests.append(.chunkedHead(to: "/api/1/envelope/", key: nil) + .chunk(body) + .chunk())
    }
    for request in requests {
      let client = Self.withoutRoom()
      client.send(request)
      #expect(try client.statuses() == [200])
      #expect(client.gate.payloads == [body] && client.budget.used == 0)
    }
  }

  @Test func `a first line that ends in a later read, or a key that is asked about, needs that room`() throws {
    let body = Self.envelope("good")
    let late = Self.withoutRoom()
    late.send(.head(to: "/api/1/envelope/", key: nil, length: body.utf8.count) + body.prefix(10))
    let answer = try late.answer()
    #expect(try answer.status == 503 && answer.json()["detail"] as? String == "unavailable: keyless_full")
    let unknown = Self.withoutRoom()
    unknown.gate.script("other", .ponders(.admit(account: "b")))
    unknown.send(.post(to: "/api/1/envelope/", key: nil, body: Self.envelope("other")))
    #expect(try unknown.statuses() == [503])
    #expect(unknown.gate.asked.isEmpty, "nobody is asked about what can't be held until the answer comes")
    // A request without a key is answered 400, and not 503 with a Retry-After.
    let without = Self.withoutRoom()
    without.send(.post(to: "/api/1/envelope/", key: nil, body: "{}\n"))
    #expect(try without.statuses() == [400])
  }

  @Test func `an account that has no room left is told so before its body is held`() throws {
    var limits = ByteBudget.Limits(1 << 20)
    (limits.keyless, limits.account, limits.uncounted) = (0, 100, 0)
    let budget = ByteBudget(limits)
    let others = Reservation(budget, account: "acme")
    try others.take(90)
    let client = EmbeddedClient(sharing: budget)
    client.send(.post(to: "/api/1/envelope/", key: nil, body: Self.envelope("good")))
    #expect(try client.answer().json()["detail"] as? String == "unavailable: account_full")
    client.send(.chunkedHead(to: "/api/1/envelope/", key: nil) + .chunk(Self.envelope("good")) + .chunk())
    #expect(try client.statuses() == [503, 503] && budget.used == 90)
    others.release()
    client.send(.post(to: "/api/1/envelope/", key: nil, body: Self.envelope("good")))
    #expect(try client.statuses() == [503, 503, 200])
  }

  @Test func `its verdict may come at once or later, and the payload is handed over once`() throws {
    for opinion in [ScriptedGate.Opinion.says(.admit(account: "b")), .ponders(.admit(account: "b"))] {
      for handover in [ScriptedGate.PendingEnqueue.now(.success(ScriptedGate.id)), .later(.success(ScriptedGate.id))] {
        let client = EmbeddedClient()
        client.gate.script("other", opinion, handover)
        client.send(.post(to: "/api/1/envelope/", key: nil, body: Self.envelope("other")))
        if case .ponders = opinion { client.gateSays() }
        if case .later = handover { client.gateSays() }
        #expect(client.gate.pushes.count == 1 && client.gate.asked.count == 1 && client.gate.unsaid == 0)
        #expect(try client.statuses() == [200])
      }
    }
  }

  @Test func `it may be refused, undecided, or not be there`() throws {
    let client = EmbeddedClient()
    client.gate.script("odd", .ponders(.undecided(.barrierTimedOut)))
    client.send(.post(to: "/api/1/envelope/", key: nil, body: Self.envelope("bad")))
    client.send(.post(to: "/api/1/envelope/", key: nil, body: Self.envelope("odd")))
    client.gateSays()
    client.send(.post(to: "/api/1/envelope/", key: nil, body: "{}\n"))
    client.send(.request("POST /api/1/envelope/ HTTP/1.1", []))
    #expect(try client.statuses() == [401, 503, 400, 400])
    #expect(client.gate.pushes.isEmpty && client.isOpen)
  }

  @Test func `a client that waits to be invited is, since its key is in the body`() throws {
    let client = EmbeddedClient()
    let body = Self.envelope("good")
    client.send(.head(to: "/api/1/envelope/", key: nil, "Expect: 100-continue", length: body.utf8.count))
    #expect(try client.statuses() == [100])
    client.send(body)
    #expect(try client.statuses() == [100, 200])
  }
}
