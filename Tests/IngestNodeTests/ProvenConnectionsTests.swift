// Which connections that have shown a key are closed for new ones, and which never are.

import ClientAddress
import NIOCore
import NIOEmbedded
import RedisFixture
import Synchronization
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct ProvenConnectionsTests {
  private static func address(_ number: Int) -> IPAddress { IPAddress(ipv4: 0x7F00_0000 + UInt32(number)) }

  private static func moment(_ seconds: Double) -> NIODeadline { .uptimeNanoseconds(UInt64(seconds * 1e9)) }

  /// A limiter's connections, by the numbers that the test gives them.
  private final class Connections: Sendable {
    let limiter: ConnectionLimiter
    private let closedOnes = Mutex<[Int]>([])

    init(limit: Int, limitByAddress: Int = .max) {
      limiter = ConnectionLimiter(limit: limit, limitByAddress: limitByAddress)
    }

    /// Those that were closed for others, in that order.
    var closed: [Int] { closedOnes.withLock { $0 } }

    func enter(
      _ number: Int, from client: Int, isExempt: Bool = false, at seconds: Double
    ) -> ConnectionPlace? {
      limiter.enter(from: address(client), isExempt: isExempt, at: moment(seconds)) {
        self.closedOnes.withLock { $0.append(number) }
      }
    }

    /// One that has shown a key of an account, and is idle from then on.
    func enter(
      _ number: Int, from client: Int, by account: String, isExempt: Bool = false, at seconds: Double
    ) -> ConnectionPlace? {
      let place = enter(number, from: client, isExempt: isExempt, at: seconds)
      place?.prove(by: account, at: moment(seconds))
      place?.mayEndFrom = moment(seconds)
      return place
    }
  }

  @Test func `connections that are never idle are no way to more than half of all places`() throws {
    let connections = Connections(limit: 16)
    for number in 0..<16 {
      let place = try #require(connections.enter(number, from: number, at: Double(number)))
      // In use, for ever.
      place.prove(by: "a", at: Self.moment(Double(number)))
    }
    func enter(_ number: Int, at seconds: Double) -> Bool {
      connections.enter(number, from: number, by: "b\(number)", at: seconds) != nil
    }
    #expect(enter(16, at: 20) && !enter(17, at: 20.05), "not more than ten a second")
    for number in 18..<25 { #expect(enter(number, at: Double(number) + 10)) }
    #expect(connections.closed.count == 8 && connections.closed.allSatisfy { $0 < 16 })
    #expect(!enter(25, at: 60), "the account has half")
  }

  @Test func `an account that holds all places loses those that were idle longest, down to its share`() throws {
    // A share is an eighth: two.
    let connections = Connections(limit: 16)
    let held = try (0..<16).map { number in
      try #require(connections.enter(number, from: number / 2, by: "a", at: Double(number)))
    }
    // The first of them is used again, and is idle for less time than the others.
    held[0].mayEndFrom = Self.moment(20)
    let others = (16..<30).map { number in
      connections.enter(number, from: number, by: "b\(number)", at: Double(30 + number))
    }
    #expect(others.allSatisfy { $0 != nil } && connections.closed == Array(1...14))
    #expect(connections.limiter.current == 16 && connections.limiter.evictions == 14)
    // Nobody has more than a share now.
    #expect(connections.enter(30, from: 40, at: 100) == nil && connections.closed.count == 14)
  }

  @Test func `a network that holds all places loses those that were idle longest, whatever its accounts`() {
    let connections = Connections(limit: 16)
    let held = (0..<16).map { connections.enter($0, from: 1, by: "a\($0)", at: Double($0)) }
    let others = (16..<30).map { connections.enter($0, from: $0, by: "b\($0)", at: 50) }
    #expect((held + others).allSatisfy { $0 != nil } && connections.closed == Array(0..<14))
    #expect(connections.enter(30, from: 40, at: 100) == nil)
  }

  @Test func `within its share a connection is closed for no stranger`() {
    let connections = Connections(limit: 16)
    let held = (0..<16).map { connections.enter($0, from: $0 / 2, by: "a\($0 / 2)", at: 0) }
    for stranger in 100..<200 { #expect(connections.enter(stranger, from: stranger, at: 1_000) == nil) }
    #expect(held.allSatisfy { $0 != nil } && connections.closed.isEmpty)
  }

  @Test func `who has most beyond its share loses first, be it a stranger or an account`() {
    let connections = Connections(limit: 16)
    // Four beyond its share.
    let held = (0..<6).map { connections.enter($0, from: $0, by: "a", at: 0) }
    let strangers = (6..<16).map { connections.enter($0, from: 50, at: 1) }
    let more = (16..<26).map { connections.enter($0, from: $0 + 50, by: "b\($0)", at: 2) }
    #expect((held + strangers + more).allSatisfy { $0 != nil })
    // The stranger goes from ten to four, and then they take turns; the account keeps its share.
    #expect(connections.closed.prefix(6) == [6, 7, 8, 9, 10, 11])
    #expect(Set(connections.closed.dropFirst(6)).isSuperset(of: [0, 1]) && connections.closed.count == 10)
    #expect(connections.closed.filter { $0 < 6 }.count <= 4)
  }

  @Test func `a connection in use is closed for nobody, and the next holder loses one`() {
    let connections = Connections(limit: 20)
    let busy = (0..<10).map { connections.enter($0, from: $0, by: "a", at: 0) }
    for place in busy { place?.mayEndFrom = .distantFuture }
    let idle = (10..<20).map { connections.enter($0, from: $0, by: "b", at: 1) }
    let others = (20..<28).map { connections.enter($0, from: $0, by: "c\($0)", at: 2) }
    #expect((idle + others).allSatisfy { $0 != nil } && connections.closed == Array(10..<18))
    #expect(connections.enter(28, from: 28, at: 2) == nil, "b has its share, and all of a are in use")
    busy[7]?.mayEndFrom = Self.moment(2.5)
    #expect(connections.enter(29, from: 29, at: 10) != nil && connections.closed.last == 7)
  }

  @Test func `one that may be closed later than now isn't closed now`() {
    let connections = Connections(limit: 8)
    let held = (0..<8).map { connections.enter($0, from: $0, by: $0 < 4 ? "a" : "b", at: 0) }
    for place in held { place?.mayEndFrom = Self.moment(5) }
    #expect(connections.enter(8, from: 9, at: 4) == nil)
    #expect(connections.enter(9, from: 9, at: 6) != nil && connections.closed == [0])
  }

  @Test func `a client at its own limit loses the one that was idle longest`() {
    let connections = Connections(limit: 100, limitByAddress: 3)
    let held = (0..<3).map { connections.enter($0, from: 1, by: "a", at: Double($0)) }
    held[0]?.mayEndFrom = .distantFuture
    #expect(connections.enter(3, from: 1, by: "b", at: 10) != nil && connections.closed == [1])
    #expect(connections.enter(4, from: 2, by: "b", at: 10) != nil && connections.closed == [1])
  }

  @Test func `a proxy behind which there are many loses none that has shown a key`() {
    let connections = Connections(limit: 16)
    let held = (0..<16).map { connections.enter($0, from: 1, by: "a", isExempt: true, at: 0) }
    #expect(connections.enter(16, from: 2, at: 100) == nil && connections.closed.isEmpty)
    #expect(held.allSatisfy { $0 != nil })
  }

  @Test func `a connection may be closed while it is idle, and after a while where its client sends little`() throws {
    let place = try #require(ConnectionLimiter(limit: 10).enter(at: Self.moment(0)) {})
    let client = EmbeddedClient(place: place)
    client.gate.script("slow", .admits(account: "acme"), .later(.success(ScriptedGate.id)))
    func waits(_ seconds: Int64) -> Bool { place.mayEndFrom == client.loop.now + .seconds(seconds) }
    client.send(.post())
    #expect(waits(0) && place.isProtected)
    client.loop.advanceTime(by: .seconds(3))
    client.send(.head(key: "slow", length: 100_000))
    #expect(waits(5))
    client.loop.advanceTime(by: .seconds(4))
    client.send(.filler(20_000))
    #expect(waits(5))
    client.loop.advanceTime(by: .seconds(1))
    client.send(.filler(1_000))
    #expect(waits(4), "too little to count")
    client.send(.filler(79_000))
    #expect(place.mayEndFrom == .distantFuture && client.gate.unsaid == 1)
    client.loop.advanceTime(by: .seconds(1))
    client.gate.say()
    #expect(waits(0))
  }

  private struct Held {
    let client: Int
    let account: Int
    let place: ConnectionPlace
    var mayEndFrom: Double
  }

  @Test func `whatever comes, is used and goes, only what is idle and beyond a share is closed`() {
    var generator = SeededGenerator.announced()
    let seed = generator.seed
    let (limit, limitByAddress, share) = (40, 15, 5)
    let connections = Connections(limit: limit, limitByAddress: limitByAddress)
    var open: [Int: Held] = [:]
    var (refused, closed) = (0, 0)
    for number in 0..<20_000 {
      let now = Double(number) / 10
      let (client, account) = (Int.random(in: 0..<6, using: &generator), Int.random(in: 0..<4, using: &generator))
      func ofClient(_ client: Int) -> [Held] { open.values.filter { $0.client == client } }
      func ofAccount(_ account: Int) -> [Held] { open.values.filter { $0.account == account } }
      /// What one of them must be to have been closed rightly: idle longest, but for a second's grace.
      func isOldest(_ victim: Held, of held: [Held]) -> Bool {
        victim.mayEndFrom <= now && held.allSatisfy { victim.mayEndFrom <= $0.mayEndFrom + 1 }
      }
      let place = connections.enter(number, from: client, by: "\(account)", at: now)
      for number in connections.closed.dropFirst(closed) {
        guard let victim = open[number] else { Issue.record("it was closed before, seed \(seed)"); return }
        let (network, account) = (ofClient(victim.client), ofAccount(victim.account))
        let isForClient = client == victim.client && network.count == limitByAddress && isOldest(victim, of: network)
        let isForAll =
          open.count == limit
          && (network.count > share && isOldest(victim, of: network)
            || account.count > share && isOldest(victim, of: account))
        #expect(isForClient || isForAll, "seed \(seed)")
        open[number] = nil
      }
      closed = connections.closed.count
      if let place {
        open[number] = Held(client: client, account: account, place: place, mayEndFrom: now)
      } else {
        refused += 1
        let candidates =
          ofClient(client).count == limitByAddress
          ? ofClient(client)
          : open.values.filter { ofClient($0.client).count > share || ofAccount($0.account).count > share }
        #expect(candidates.allSatisfy { $0.mayEndFrom > now - 1 }, "seed \(seed)")
      }
      // Nearly all are used again and again, so that an idle one is hard to find.
      for other in open.keys.sorted() where Int.random(in: 0..<3, using: &generator) == 0 {
        switch Int.random(in: 0..<40, using: &generator) {
        case 0: open.removeValue(forKey: other)?.place.giveBack()
        case 1...4: open[other]?.mayEndFrom = now
        default: open[other]?.mayEndFrom = .infinity
        }
        guard let held = open[other] else { continue }
        held.place.mayEndFrom = held.mayEndFrom == .infinity ? .distantFuture : Self.moment(held.mayEndFrom)
      }
      #expect(connections.limiter.current == open.count && open.count <= limit, "seed \(seed)")
    }
    #expect(closed > 500 && refused > 100, "\(closed) and \(refused), seed \(seed)")
  }
}
