// The bytes of bodies that an event loop holds, and of answers that grow with what was asked: what is beyond them is
// answered 503, and each way in which a request can end gives its own back.

import ClientAddress
import HTTPFraming
import KeyReplica
import NIOCore
import Testing

@testable import IngestNode

@Suite struct ByteBudgetTests {
  @Test func `it takes up to its limit and no byte more`() throws {
    let budget = ByteBudget(.init(10))
    let held = Reservation(budget, account: "acme")
    try held.take(10)
    #expect(budget.used == 10 && held.shortage(of: 0) == nil)
    #expect(throws: ByteBudget.Shortage.total) { try held.take(1) }
    #expect(throws: ByteBudget.Shortage.total) { try held.take(.max) }
    held.release()
    #expect(budget.used == 0 && held.count == 0)
    held.release()
    #expect(budget.used == 0, "it was given back already")
  }

  @Test func `a reservation gives its bytes back when it goes`() throws {
    let budget = ByteBudget(.init(10))
    do {
      var bytes = ReservedBytes(of: budget, account: "acme")
      try bytes.take(7)
      #expect(budget.used == 7)
    }
    #expect(budget.used == 0)
  }

  /// As the node has them, with small numbers.
  private static var limits: ByteBudget.Limits {
    var limits = ByteBudget.Limits(1_000)
    (limits.account, limits.network, limits.uncounted) = (250, 500, 500)
    (limits.keyless, limits.keylessNetwork) = (64, 8)
    return limits
  }

  private static func network(_ last: Int) -> IPAddress {
    guard let address = IPAddress(text: Array("192.0.2.\(last)".utf8).span.bytes) else {
      preconditionFailure("an address")
    }
    return address
  }

  @Test func `an account and a network hold no more than their shares`() throws {
    let budget = ByteBudget(Self.limits)
    let held = (0..<4).map { Reservation(budget, network: Self.network($0 / 3), account: "account-\($0)") }
    for index in 0..<2 { try held[index].take(250) }
    #expect(throws: ByteBudget.Shortage.account) { try held[0].take(1) }
    #expect(throws: ByteBudget.Shortage.network) { try held[2].take(1) }
    // Others are not affected.
    try held[3].take(250)
    held[0].release()
    try held[2].take(250)
    #expect(budget.used == 750)
    for index in held.indices { held[index].release() }
    #expect(budget.used == 0)
  }

  @Test func `whole bodies of one read count against shares once so much of the budget is used`() throws {
    let budget = ByteBudget(Self.limits)
    let held = (0..<200).map { _ in Reservation(budget, network: Self.network(1), account: "acme") }
    var taken = 0
    for index in held.indices where (try? held[index].take(10, isBrief: true)) != nil { taken += 1 }
    #expect(taken == (500 + 250) / 10, "what isn't counted, and its share")
    let other = Reservation(budget, network: Self.network(2), account: "other")
    try other.take(250)
    for index in held.indices { held[index].release() }
    other.release()
    #expect(budget.used == 0)
  }

  @Test func `bytes without a key have a budget of their own, with a share for each network`() throws {
    let budget = ByteBudget(Self.limits)
    let held = (0..<9).map { Reservation(budget, network: Self.network($0)) }
    for index in 0..<8 { try held[index].take(8) }
    #expect(throws: ByteBudget.Shortage.keyless) { try held[0].take(1) }
    #expect(throws: ByteBudget.Shortage.keyless, "all networks together") { try held[8].take(1) }
    #expect(budget.used == 0 && budget.keylessUsed == 64)
    // Once its key is known it counts elsewhere.
    try held[0].assign(to: "acme")
    #expect(budget.used == 8 && budget.keylessUsed == 56 && held[0].account == "acme")
    try held[8].take(8)
    for index in held.indices { held[index].release() }
    #expect(budget.used == 0 && budget.keylessUsed == 0)
  }

  @Test func `what is held without a key stays so where its account has no room`() throws {
    let budget = ByteBudget(Self.limits)
    let (full, held) = (Reservation(budget, account: "acme"), Reservation(budget, network: Self.network(1)))
    try full.take(250)
    try held.take(8)
    #expect(throws: ByteBudget.Shortage.account) { try held.assign(to: "acme") }
    #expect(budget.keylessUsed == 8 && budget.used == 250)
    held.release()
    full.release()
    #expect(budget.keylessUsed == 0 && budget.used == 0)
  }

  @Test(arguments: [1 << 20, 16 << 20, 256 << 20, 1 << 40]) func `each share has room for the largest body`(
    total: Int
  ) {
    let limits = ByteBudget.Limits(total: total, body: 16 << 20)
    for share in [limits.account, limits.network] { #expect(share >= 16 << 20 && share <= limits.total / 2) }
    #expect(limits.keyless <= max(1 << 20, limits.total / 16) && limits.keylessNetwork >= 64 << 10)
  }

  @Test func `clients without a key can't keep others out, wherever they send from`() throws {
    let budget = ByteBudget(.init(total: 64 << 20, body: 16 << 20))
    let strangers = (0..<111).map { index in
      EmbeddedClient(sharing: budget, address: Self.network(index % 3), readSize: 16 << 10)
    }
    for stranger in strangers {
      stranger.send(.head(to: "/api/1/envelope/", key: nil, length: 1 << 20) + .filler(15 << 10))
    }
    #expect(budget.used == 0 && budget.keylessUsed > 0 && budget.keylessUsed <= budget.limits.keyless)
    #expect(try strangers.flatMap { try $0.answers() }.allSatisfy { $0.status == 503 })
    let client = EmbeddedClient(limits: RequestLimits(bodyBytes: 16 << 20), sharing: budget, address: Self.network(1))
    client.send(.post(body: .filler(16 << 20)))
    #expect(try client.statuses() == [202])
    for stranger in strangers { stranger.reset() }
    #expect(budget.used == 0 && budget.keylessUsed == 0)
  }

  @Test func `one good key can't keep others out`() throws {
    let limits = RequestLimits(bodyBytes: 1 << 20)
    let budget = ByteBudget(.init(total: 8 << 20, body: 1 << 20))
    let greedy = (0..<20).map { _ in EmbeddedClient(limits: limits, sharing: budget, address: Self.network(1)) }
    for client in greedy { client.send(.head(length: 1 << 20) + .filler((1 << 20) - 1)) }
    #expect(budget.used == (1 << 20) - 1, "an eighth")
    let told = try greedy.flatMap { try $0.answers() }
    #expect(told.count == 19)
    for answer in told { #expect(try answer.status == 503 && answer.json()["reason"] as? String == "account_full") }
    let other = EmbeddedClient(limits: limits, sharing: budget, address: Self.network(2))
    other.gate.script("other", .admits(account: "other"))
    other.send(.post(key: "other", body: .filler(1 << 20)))
    #expect(try other.statuses() == [202])
    for client in greedy { client.reset() }
    #expect(budget.used == 0)
  }

  @Test func `requests that a trusted proxy passes on count against its clients' shares`() throws {
    let budget = ByteBudget(Self.limits)
    let proxy = EmbeddedClient(sharing: budget, address: Self.network(9), trusted: try TrustedProxies("192.0.2.9"))
    proxy.send(
      .head(to: "/api/1/envelope/", key: nil, "X-Forwarded-For: 192.0.2.1", length: 100) + .filler(8))
    #expect(budget.keylessUsed == 8)
    let sameClient = Reservation(budget, network: Self.network(1))
    #expect(throws: ByteBudget.Shortage.keyless) { try sameClient.take(1) }
    let another = Reservation(budget, network: Self.network(9))
    try another.take(8)
    another.release()
    proxy.reset()
    #expect(budget.keylessUsed == 0)
  }

  @Test func `a body that there is no room for is answered 503, and the connection goes on`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.post(body: .filler(11)))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer["retry-after"] != nil && !answer.closes)
    #expect(try answer.json()["reason"] as? String == "node_full")
    client.send(.post(body: .filler(10)))
    #expect(try client.statuses() == [503, 202])
  }

  @Test func `a body in chunks is answered so when it has grown too large`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.chunkedHead() + .chunk(.filler(10)))
    #expect(client.budget.used == 10)
    client.send(.chunk("x"))
    #expect(client.budget.used == 0 && client.stream.isEmpty)
    client.send(.chunk("x") + .chunk() + .post())
    #expect(try client.statuses() == [503, 202])
    #expect(client.gate.pushes.count == 1)
  }

  @Test func `what others hold there is no room for`() throws {
    let client = EmbeddedClient(budget: 10)
    let others = Reservation(client.budget, account: "other")
    try others.take(4)
    client.send(.post())
    #expect(try client.statuses() == [503])
    others.release()
    client.send(.post())
    #expect(try client.statuses() == [503, 202])
  }

  @Test func `what is announced and doesn't come holds nothing`() throws {
    let client = EmbeddedClient(budget: 100)
    client.send(.head(length: 100))
    #expect(client.budget.used == 0, "one key could keep everybody out with a few heads")
    client.send(.filler(30))
    #expect(client.budget.used == 30)
  }

  @Test(arguments: [1, 40, 70])
  func `where room runs out in the midst of a body it is told so, and the connection goes on`(
    part: Int
  ) throws {
    let client = EmbeddedClient(budget: 100)
    client.send(.head(length: 100) + .filler(30))
    // Somebody else's body has come meanwhile.
    let others = Reservation(client.budget, account: "other")
    try others.take(70)
    #expect(client.stream.isEmpty)
    client.send(.filler(part))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer["retry-after"] != nil && !answer.closes)
    #expect(try answer.json()["reason"] as? String == "node_full")
    #expect(client.budget.used == 70, "what had come is let go of")
    // The rest, and a request that isn't a part of it.
    client.send(.filler(70 - part) + .post(body: .filler(30)))
    #expect(try client.statuses() == [503, 202])
    #expect(client.gate.payloads == [.filler(30)])
    others.release()
  }

  @Test func `where much is still to come then, the connection ends`() throws {
    let client = EmbeddedClient(limits: RequestLimits(drainBytes: 20), budget: 100)
    client.send(.head(length: 100) + .filler(30))
    let others = Reservation(client.budget, account: "other")
    try others.take(60)
    client.send(.filler(49))
    let answer = try client.answer()
    #expect(answer.status == 503 && answer.closes && client.outputIsClosed)
    client.send(.filler(21) + .post())
    #expect(try client.statuses() == [503])
    #expect(client.gate.pushes.isEmpty)
    others.release()
  }

  /// Of 9 bytes, with an answer of 15 for each of 4 events.
  private static let batch = String.post(
    to: "/1/batch/set", key: nil, "X-Honeycomb-Team: good", "Content-Type: application/json", body: "[1,2,3,4]")

  @Test func `the answer to a batch holds its bytes until the kernel has it`() throws {
    let client = EmbeddedClient(budget: 9 + 4 * 15)
    client.gate.script("good", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
    client.stopReading()
    client.send(Self.batch)
    #expect(client.budget.used == 69)
    client.gateSays()
    #expect(client.budget.used == 60, "it waits for the client")
    // The next one's finds no room, and its payload isn't taken.
    client.send(Self.batch)
    #expect(client.gate.pushes.count == 1 && client.budget.used == 60)
    client.readAgain()
    #expect(client.budget.used == 0)
    client.send(Self.batch)
    client.gateSays()
    #expect(try client.statuses() == [200, 503, 200])
    #expect(try client.answers()[1].json()["reason"] as? String == "node_full")
  }

  @Test func `an answer that nobody reads gives its bytes back with its connection`() throws {
    let client = EmbeddedClient()
    client.stopReading()
    client.send(Self.batch)
    #expect(client.budget.used == 60)
    client.reset()
    #expect(client.budget.used == 0)
  }

  @Test func `no answer to a batch is longer than what is held for it`() throws {
    for dialect in Dialects.all {
      for events in [0, 1, 10_000] {
        let answer = try ReadAnswer(dialect.accepted(Accepted(id: ScriptedGate.id, media: .json, events: events)))
        #expect(answer.body.count <= 64 + events * dialect.answerBytesPerEvent, "\(dialect.name)")
      }
    }
  }

  @Test func `a key that isn't admitted holds nothing`() throws {
    for head in [String.head(key: "slow", length: 9), .chunkedHead(key: "slow")] {
      let client = EmbeddedClient(budget: 10)
      client.gate.script("slow", .ponders(.admit(account: "late")))
      client.send(head)
      #expect(client.budget.used == 0, "anybody could fill the node with keys of his own making")
      client.gateSays()
      client.send(head.contains("chunked") ? .chunk("abc") : "abc")
      #expect(client.budget.used == 3)
    }
    let unknown = EmbeddedClient(budget: 10)
    unknown.send(.post(key: "bad", body: .filler(11)))
    #expect(try unknown.statuses() == [401], "it isn't told to come again")
  }

  @Test func `a body that may have the key in it holds its bytes apart`() throws {
    let client = EmbeddedClient(budget: 10)
    client.send(.head(to: "/api/1/store/", key: nil, length: 9) + "abc")
    #expect(client.budget.used == 0 && client.budget.keylessUsed == 3)
    client.send(.filler(6))
    #expect(try client.statuses() == [400])
    #expect(client.budget.keylessUsed == 0)
  }

  @Test func `what nobody keeps isn't counted`() throws {
    let client = EmbeddedClient(budget: 0)
    client.send(.post(to: "/1/auth?api_key=good", key: nil) + .chunkedHead(to: "/1/auth?api_key=good", key: nil))
    client.send(.chunk("abc") + .chunk())
    #expect(try client.statuses() == [200, 200])
  }

  /// A way for a request that holds bytes to end.
  struct End: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var sent = String.head(length: 10) + "abc"
    var held = 3
    var limits = RequestLimits()
    var handover = ScriptedGate.PendingEnqueue.later(.success(ScriptedGate.id))
    let end: @Sendable (EmbeddedClient) -> Void
  }

  private static let whole = String.head(length: 10) + .filler(10)
  private static let ends: [End] = [
    End(testDescription: "accepted", sent: whole, held: 10) { $0.gateSays() },
    End(
      testDescription: "queue full", sent: whole, held: 10, handover: .later(.failure(.unavailable(.queueFull)))
    ) { $0.gateSays() },
    End(
      testDescription: "too fast", sent: whole, held: 10, handover: .later(.failure(.tooFast(nil)))
    ) { $0.gateSays() },
    End(
      testDescription: "too large for the queue", sent: whole, held: 10, handover: .later(.failure(.tooLarge(limit: 1)))
    ) { $0.gateSays() },
    End(testDescription: "no key in the body", sent: .head(to: "/api/1/store/", key: nil, length: 10) + "abc") {
      $0.send(.filler(7))
    },
    End(
      testDescription: "too large in chunks", sent: .chunkedHead() + .chunk("abc"),
      limits: RequestLimits(bodyBytes: 5)
    ) { $0.send("3\r\n") },
    End(testDescription: "a broken chunk", sent: .chunkedHead() + .chunk("abc")) { $0.send("x\r\n") },
    End(testDescription: "too slow") { $0.pass(.seconds(60)) },
    End(testDescription: "half closed") { $0.halfClose() },
    End(testDescription: "gone") { $0.reset() },
    End(testDescription: "gone while answered", sent: whole, held: 10) { $0.reset() },
    End(testDescription: "quiesced and gone") {
      $0.quiesce()
      $0.reset()
    },
  ]

  @Test(arguments: ends) func `each end of a request gives its bytes back`(end: End) {
    let client = EmbeddedClient(limits: end.limits)
    client.gate.script("good", .admits(account: "acme"), end.handover)
    client.send(end.sent)
    #expect(client.budget.used + client.budget.keylessUsed == end.held)
    end.end(client)
    #expect(client.budget.used == 0 && client.budget.keylessUsed == 0)
  }
}
