// Clients that send more than is accepted, and clients that don't read: memory and time for both are limited.

import HTTPFraming
import KeyReplica
import NIOCore
import Testing

@testable import IngestNode

@Suite struct BackpressureTests {
  private static let readSize = 8 << 10
  /// The longest head.
  private static let sentAhead = 24 << 10

  @Test func `of what is sent ahead of an answer little is read`() throws {
    let requests = 2_000
    for opinion in [ScriptedGate.Opinion.admits(account: "acme"), .ponders(.admit(account: "late"))] {
      let client = EmbeddedClient(limits: RequestLimits(requests: .max), readSize: Self.readSize)
      client.gate.script("good", opinion, .later(.success(ScriptedGate.id)))
      let request = String.post()
      client.send(String(repeating: request, count: requests))
      let kept = requests * request.utf8.count - client.unreadBytes
      #expect(kept > Self.sentAhead && kept <= Self.sentAhead + Self.readSize)
      // That stays so, and all is read in the end.
      var most = 0
      while client.gate.unsaid > 0 {
        client.gateSays()
        most = max(most, (requests - client.gate.pushes.count) * request.utf8.count - client.unreadBytes)
      }
      // One may be read and not pushed.
      #expect(most <= Self.sentAhead + Self.readSize + request.utf8.count)
      #expect(try client.statuses().count == requests)
      #expect(client.unreadBytes == 0 && client.gate.pushes.count == requests)
    }
  }

  @Test(arguments: [500, 50_000])
  func `when a client ends little of what it sent ahead is kept, however much there is`(requests: Int) throws {
    let client = EmbeddedClient(limits: RequestLimits(requests: .max), readSize: Self.readSize)
    client.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
    client.send(String(repeating: .post(), count: requests))
    // NIO reads all that there is now.
    client.halfClose()
    #expect(client.inputCapacity <= 2 * 96 << 10)
    let isShort = requests * String.post().utf8.count < 90 << 10
    #expect(client.isOpen == isShort, "one that sent more than may be kept is reset")
    while client.gate.unsaid > 0 { client.gateSays() }
    if isShort { #expect(try client.statuses().count == requests) }
  }

  @Test func `memory follows what is unread, and not what ever came`() throws {
    let client = EmbeddedClient(limits: RequestLimits(requests: .max), readSize: Self.readSize)
    // Heads of 8 KiB less one byte, so that reads of 8 KiB end one request and begin the next.
    let start = "GET /nowhere HTTP/1.1\r\nHost: h\r\nX: "
    let head = start + String(repeating: "x", count: Self.readSize - 1 - start.utf8.count - 4) + "\r\n\r\n"
    let requests = 2_000
    for _ in 0..<requests {
      client.send(head)
      guard client.inputCapacity <= 4 * Self.readSize else {
        Issue.record("\(client.inputCapacity) bytes are held")
        return
      }
    }
    #expect(try client.statuses().count == requests)
  }

  @Test(arguments: [
    (part: String.request("GET /nowhere HTTP/1.1", []), status: 404, count: 1_000),
    (part: String.request("POST /v1/x HTTP/1.1", ["Content-Length: 0"]), status: 400, count: 1_000),
  ])
  func `of many small requests few are answered before the event loop does something else`(
    part: String, status: Int, count: Int
  ) throws {
    let client = EmbeddedClient(limits: RequestLimits(requests: .max))
    client.sendInOneRead(String(repeating: part, count: count))
    #expect(try (1...ConnectionTurns.steps).contains(client.statuses().count))
    // In the end all are.
    client.pass(.zero)
    #expect(try client.statuses() == Array(repeating: status, count: count))
    #expect(client.isOpen && client.inputCapacity == 0)
  }

  @Test func `of many small chunks few are taken before the event loop does something else`() throws {
    let client = EmbeddedClient()
    client.sendInOneRead(.chunkedHead() + String(repeating: .chunk("x"), count: 1_000) + .chunk() + .post())
    #expect((1...ConnectionTurns.steps).contains(client.budget.used) && client.gate.pushes.isEmpty)
    client.pass(.zero)
    #expect(try client.statuses() == [202, 202])
    #expect(client.gate.payloads.first == String(repeating: "x", count: 1_000))
  }

  @Test func `while others wait for their turn a read brings no more than a push`() throws {
    let client = EmbeddedClient(limits: RequestLimits(requests: .max))
    client.crowd()
    client.sendInOneRead(String(repeating: .request("GET /nowhere HTTP/1.1", []), count: 1_000))
    #expect(try (1...ConnectionTurns.stepsOfRead).contains(client.statuses().count))
    client.pass(.zero)
    #expect(try client.statuses().count == 1_000)
    // A push doesn't wait behind them, also where it comes with all that one may have.
    let envelope = #"{"dsn":"https://good@sentry.example/1"}"# + "\n{}"
    for request in [
      String.post(), .post(to: "/api/1/envelope/", key: nil, body: envelope),
      .chunkedHead() + .chunk("abc") + .chunk(),
    ] {
      let client = EmbeddedClient()
      client.crowd()
      client.sendInOneRead(request)
      #expect(try client.statuses().count == 1 && client.gate.pushes.count == 1)
    }
  }

  @Test func `a client that goes away before its next turn is let go of`() {
    let client = EmbeddedClient()
    client.sendInOneRead(String(repeating: .request("GET /nowhere HTTP/1.1", []), count: 1_000))
    client.reset()
    client.pass(.milliseconds(1))
    #expect(!client.isOpen)
  }

  @Test func `the memory of a large read isn't held for its last byte`() {
    let client = EmbeddedClient(readSize: 64 << 10)
    client.send(String(repeating: .request("GET /nowhere HTTP/1.1", []), count: 1_500) + "G")
    #expect(client.inputCapacity > 0 && client.inputCapacity <= 4 << 10)
    for first in [String.head(length: 100_000), .chunkedHead() + "2000\r\n"] {
      let client = EmbeddedClient(readSize: 64 << 10)
      client.send(first + "x")
      #expect(client.gate.pushes.isEmpty && client.inputCapacity == 0 && client.budget.used == 1)
    }
  }

  @Test func `a long body behind an awaited verdict stays with the client`() throws {
    let client = EmbeddedClient(budget: 2 << 20, readSize: Self.readSize)
    client.gate.script("slow", .ponders(.admit(account: "late")))
    client.send(.post(key: "slow", body: .filler(1 << 20)))
    #expect(client.unreadBytes >= (1 << 20) - Self.sentAhead - Self.readSize)
    client.gateSays()
    #expect(client.gate.pushes.map(\.request.body.readableBytes) == [1 << 20])
    #expect(try client.statuses() == [202])
  }

  @Test func `who doesn't read its answers isn't read from, and gets them all when it reads`() throws {
    let requests = 10_000
    let client = EmbeddedClient(readSize: Self.readSize)
    client.stopReading()
    client.send(String(repeating: .request("GET /nowhere HTTP/1.1", []), count: requests))
    #expect(client.unreadBytes > 0)
    #expect(client.mostWaitingBytes <= 3 * SimulatedSocket.writabilityMark)
    client.readAgain()
    #expect(try client.statuses() == Array(repeating: 404, count: requests))
    #expect(client.isOpen && client.unreadBytes == 0)
  }

  @Test func `nothing more is read while answers wait`() {
    let client = EmbeddedClient()
    client.stopReading()
    let request = String.request("GET /nowhere HTTP/1.1", [])
    while client.isWritable { client.send(request) }
    #expect(client.unreadBytes == 0)
    client.send(request)
    #expect(client.unreadBytes == request.utf8.count)
  }

  @Test func `one reading's answers aren't kept back until the last of them`() throws {
    let client = EmbeddedClient(readSize: 60 << 10)
    client.stopReading()
    let request = String.request("GET / HTTP/1.1", [])
    client.send(String(repeating: request, count: (60 << 10) / request.utf8.count))
    #expect(client.mostWaitingBytes <= 3 * SimulatedSocket.writabilityMark)
    client.readAgain()
    #expect(try client.answers().count == (60 << 10) / request.utf8.count)
  }

  @Test func `who never reads is cut off`() {
    let client = EmbeddedClient(readSize: Self.readSize)
    client.stopReading()
    client.send(String(repeating: .request("GET /nowhere HTTP/1.1", []), count: 10_000))
    client.pass(.seconds(120))
    #expect(!client.isOpen)
  }

  @Test func `who never reads its last answer is cut off`() {
    for sent in [.post("Connection: close"), "nonsense\r\n", .head(key: "bad", length: 1 << 20)] {
      let client = EmbeddedClient()
      client.stopReading()
      client.send(sent)
      client.pass(.seconds(5) - .nanoseconds(1))
      #expect(client.isOpen && !client.outputIsClosed)
      client.pass(.nanoseconds(1))
      #expect(!client.isOpen)
    }
  }
}
