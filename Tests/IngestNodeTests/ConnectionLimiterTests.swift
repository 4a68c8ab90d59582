// The limit of connections, counted from many threads, and which connection is closed for a new one.

import ClientAddress
import Dispatch
import RedisFixture
import Synchronization
import NIOCore
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct ConnectionLimiterTests {
  private func address(_ number: Int) -> IPAddress { IPAddress(ipv4: 0x7F00_0000 + UInt32(number)) }

  /// Connections of one limiter, by the numbers that the test gives them.
  private final class Connections: Sendable {
    let limiter: ConnectionLimiter
    private let closedOnes = Mutex<[Int]>([])

    init(limit: Int, limitByAddress: Int = .max) {
      limiter = ConnectionLimiter(limit: limit, limitByAddress: limitByAddress)
    }

    /// Those that were closed for others, in that order.
    var closed: [Int] { closedOnes.withLock { $0 } }

    func enter(
      _ number: Int, from address: IPAddress? = nil, isExempt: Bool = false, isUnclaimed: Bool = false
    ) -> ConnectionPlace? {
      limiter.enter(from: address, isExempt: isExempt, isUnclaimed: isUnclaimed) {
        self.closedOnes.withLock { $0.append(number) }
      }
    }
  }

  @Test func `connections that have proven themselves are closed for no other, which is one too many`() throws {
    let connections = Connections(limit: 3)
    let places = try (1...3).map { number in
      let place = connections.enter(number, from: address(number))
      place?.protect()
      return try #require(place)
    }
    #expect(connections.enter(4, from: address(4)) == nil && connections.limiter.current == 3)
    places[1].giveBack()
    places[1].giveBack()
    #expect(connections.limiter.current == 2)
    #expect(connections.enter(5, from: address(4)) != nil && connections.limiter.current == 3)
    #expect(connections.closed.isEmpty)
  }

  @Test func `one client has so many, and one more of it takes the place of its own oldest`() throws {
    let connections = Connections(limit: 10, limitByAddress: 2)
    for number in 1...2 { #expect(connections.enter(number, from: address(1)) != nil) }
    let other = connections.enter(3, from: address(2))
    let third = connections.enter(4, from: address(1))
    #expect(connections.closed == [1] && connections.limiter.current == 3)
    third?.protect()
    let fourth = connections.enter(5, from: address(1))
    #expect(connections.closed == [1, 2])
    fourth?.protect()
    #expect(connections.enter(6, from: address(1)) == nil, "both have proven themselves")
    #expect(connections.closed == [1, 2] && connections.limiter.current == 3 && other != nil)
  }

  @Test func `when all places are taken the client with most unproven connections loses its oldest`() throws {
    let connections = Connections(limit: 6)
    let good = connections.enter(0, from: address(9))
    for number in 1...5 { #expect(connections.enter(number, from: address(1)) != nil) }
    #expect(connections.enter(6, from: address(2)) != nil && connections.closed == [1])
    // A flood takes its places from itself.
    for number in 7...20 { #expect(connections.enter(number, from: address(1)) != nil) }
    #expect(connections.closed == [1, 2, 3, 4, 5] + Array(7...16) && connections.limiter.current == 6)
    #expect(good != nil && connections.limiter.evictions == 15)
  }

  @Test func `a network that has shown an active key keeps new connections while strangers have one each`() throws {
    let connections = Connections(limit: 50)
    let first = try #require(connections.enter(0, from: address(1)))
    first.prove(by: "acme", at: .now())
    first.giveBack()
    // Strangers with as many networks as there are places, and more, take all of them.
    for number in 1...100 { _ = connections.enter(number, from: address(1_000 + number)) }
    #expect(connections.closed == Array(1...50))
    let places = (-4...(-1)).map { connections.enter($0, from: address(1)) }
    #expect(places.allSatisfy { $0 != nil })
    for number in 101...400 { _ = connections.enter(number, from: address(1_000 + number)) }
    #expect(connections.closed.allSatisfy { $0 > 0 }, "no connection of the known network was closed")
    // A fifth one weighs as much as two of a stranger, so the network loses its oldest.
    #expect(connections.enter(-5, from: address(1)) != nil)
    _ = connections.enter(401, from: address(2_000))
    #expect(connections.closed.last == -4)
  }

  @Test func `networks are known in a bounded number, and the one that showed a key longest ago is forgotten`() throws {
    let connections = Connections(limit: 2)
    for number in 0...1_024 {
      let place = try #require(connections.enter(number, from: address(number)))
      place.prove(by: "acme", at: .now())
      place.giveBack()
    }
    // The first is a stranger again, the second is known.
    let places = [connections.enter(-1, from: address(1)), connections.enter(-2, from: address(0))]
    #expect(places.allSatisfy { $0 != nil } && connections.closed.isEmpty)
    _ = connections.enter(-3, from: address(5_000))
    #expect(connections.closed == [-2])
  }

  @Test func `of clients with equally many connections the one that has had them for longest loses one`() {
    let connections = Connections(limit: 100)
    let places = (1...500).map { connections.enter($0, from: address($0)) }
    #expect(connections.closed == Array(1...400) && connections.limiter.current == 100)
    // A client that disconnects and connects again is as new as other new clients.
    places[400]?.giveBack()
    let again = connections.enter(501, from: address(401))
    let more = (502...600).map { connections.enter($0, from: address($0)) }
    #expect(connections.closed == Array(1...400) + Array(402...500))
    _ = (again, more)
  }

  @Test func `an IPv6 client is its /64, whatever addresses it uses`() throws {
    let connections = Connections(limit: 100, limitByAddress: 2)
    let network: UInt128 = 0x2001_0db8_0000_0001 << 64
    for number in 1...50 {
      #expect(connections.enter(number, from: IPAddress(ipv6: network + UInt128(number) << 16)) != nil)
    }
    #expect(connections.limiter.current == 2 && connections.closed == Array(1...48))
    #expect(connections.enter(51, from: IPAddress(ipv6: network + 1 << 64)) != nil && connections.limiter.current == 3)
  }

  @Test func `the limit for one client doesn't hold for a proxy behind which there are many`() {
    let connections = Connections(limit: 10, limitByAddress: 2)
    for number in 1...10 { #expect(connections.enter(number, from: address(1), isExempt: true) != nil) }
    #expect(connections.limiter.current == 10 && connections.closed.isEmpty)
  }

  @Test func `a client that is known later is counted from then on`() throws {
    let connections = Connections(limit: 10, limitByAddress: 2)
    let places = try (1...4).map { number in try #require(connections.enter(number)) }
    #expect(places[0].claim(address(1)) && places[1].claim(address(1)))
    places[0].protect()
    places[1].protect()
    #expect(!places[2].claim(address(1)) && connections.limiter.current == 3)
    // Its connection ends later.
    places[2].giveBack()
    #expect(connections.limiter.current == 3)
    places[0].giveBack()
    #expect(places[3].claim(address(1)) && connections.limiter.current == 2 && connections.closed.isEmpty)
  }

  @Test func `while a proxy has yet to say whose they are, connections are closed for no other, however many come`()
    throws
  {
    let connections = Connections(limit: 6)
    // Two clients, each with two, and then more whose headers haven't come than either has.
    for number in 1...4 { #expect(connections.enter(number, from: address(number % 2)) != nil) }
    let unclaimed = try (5...8).map { try #require(connections.enter($0, isExempt: true, isUnclaimed: true)) }
    #expect(connections.closed == [1, 2])
    // Once it is known whose it is, it counts as that client's.
    for place in unclaimed[..<3] { #expect(place.claim(address(9))) }
    #expect(connections.enter(9, from: address(10)) != nil)
    #expect(connections.closed == [1, 2, 5])
    // Those that are left take all places, and then a further one is one too many.
    let others = Connections(limit: 2)
    for number in 1...2 { #expect(others.enter(number, isExempt: true, isUnclaimed: true) != nil) }
    #expect(others.enter(3, from: address(1)) == nil && others.closed.isEmpty)
  }

  @Test func `one that shows itself again is closed after those that didn't`() throws {
    let connections = Connections(limit: 3)
    let places = try (1...3).map { number in try #require(connections.enter(number, from: address(1))) }
    places[0].expose()
    places[1].protect()
    places[1].expose()
    // Often, so that what is left of it has to be thrown away.
    for _ in 0..<100 { places[0].expose() }
    for number in 4...6 { #expect(connections.enter(number, from: address(2)) != nil) }
    #expect(connections.closed.prefix(2) == [3, 2])
  }

  @Test func `so many are told at a time that there are too many`() {
    let limiter = ConnectionLimiter(limit: 1, courtesies: 2)
    #expect(limiter.beginCourtesy() && limiter.beginCourtesy() && !limiter.beginCourtesy())
    limiter.endCourtesy()
    #expect(limiter.beginCourtesy() && !limiter.beginCourtesy())
  }

  @Test func `whatever comes and goes, no limit is passed and the counts are right`() {
    var generator = SeededGenerator.announced()
    let seed = generator.seed
    let (limit, limitByAddress) = (20, 7)
    let connections = Connections(limit: limit, limitByAddress: limitByAddress)
    /// What is open, by number: its client, its place, whether it is protected.
    var open: [Int: (client: Int, place: ConnectionPlace, isProtected: Bool)] = [:]
    for number in 0..<5_000 {
      let client = Int.random(in: 0..<5, using: &generator)
      let before = connections.closed.count
      let place = connections.enter(number, from: address(client))
      for closed in connections.closed.dropFirst(before) {
        let victim = open.removeValue(forKey: closed)
        #expect(victim != nil && victim?.isProtected == false, "seed \(seed)")
        let exposed = Dictionary(grouping: open.values.filter { !$0.isProtected }, by: \.client).mapValues(\.count)
        let ofClient = open.values.count { $0.client == client }
        if let victim, ofClient < limitByAddress - (victim.client == client ? 1 : 0) {
          #expect((exposed[victim.client] ?? 0) + 1 >= exposed.values.max() ?? 0, "seed \(seed)")
        }
      }
      if let place {
        open[number] = (client, place, false)
      } else {
        let isFull = open.count == limit || open.values.count { $0.client == client } == limitByAddress
        #expect(isFull, "seed \(seed)")
      }
      for other in open.keys.sorted() where Int.random(in: 0..<20, using: &generator) == 0 {
        switch Int.random(in: 0..<3, using: &generator) {
        case 0:
          open[other]?.place.protect()
          open[other]?.isProtected = true
        case 1:
          open[other]?.place.expose()
          open[other]?.isProtected = false
        default: open.removeValue(forKey: other)?.place.giveBack()
        }
      }
      #expect(connections.limiter.current == open.count && open.count <= limit, "seed \(seed)")
      #expect(
        (0..<5).allSatisfy { client in open.values.count { $0.client == client } <= limitByAddress }, "seed \(seed)")
    }
    #expect(connections.closed.count > 100, "seed \(seed)")
  }

  @Test func `when all have left there is as much room as before`() {
    let limiter = ConnectionLimiter(limit: 50, limitByAddress: 10)
    let entered = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 4) { thread in
      for round in 0..<2000 {
        guard let place = limiter.enter(reset: {}) else { continue }
        if round % 7 == 0 || place.claim(address((thread + round) % 5)) { entered.add(1, ordering: .relaxed) }
        place.giveBack()
      }
    }
    #expect(entered.load(ordering: .relaxed) > 1000 && limiter.current == 0)
    for number in 0..<5 {
      let places = (0..<11).map { _ in limiter.enter(from: address(number), reset: {}) }
      for place in places.compactMap({ $0 }) { place.protect() }
    }
    #expect(limiter.current == 50)
  }
}
