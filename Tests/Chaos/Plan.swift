// The faults of a round, drawn from the seed and the round's number alone. So the faults of a round can be repeated
// without the earlier rounds. How the processes react depends on the machine.

import NIOCore
import RedisFixture

/// A fault and its time.
struct PlannedFault: Sendable, CustomStringConvertible {
  var fault: Fault
  /// After the calm.
  var at: Duration
  var lasting: Duration

  var description: String { "\(fault) \(at.seconds)+\(lasting.seconds)" }
}

/// A round's faults.
struct Plan: Sendable {
  let faults: [PlannedFault]

  /// What can be done here.
  struct Means: Sendable {
    var nodes: Int
    var workers: Int
    /// Who talks to Redis through a proxy.
    var links: [Role]
    /// Whether the nodes' spools are on a disk of their own.
    var hasSpoolDisk: Bool
  }

  init(seed: UInt64, round: Int, span: Duration, means: Means) {
    var chance = Chance(seed: seed, round: round, stream: 0)
    var faults: [PlannedFault] = []
    for _ in 0..<chance.number(in: 2...6) {
      let fault = Self.draw(means, &chance)
      let at = chance.duration(in: .zero...span * 0.8)
      var lasting = chance.duration(in: .milliseconds(50) ... .milliseconds(chance.one(in: 3) ? 2_000 : 700))
      if case .fillRedis = fault { lasting = max(lasting, .milliseconds(400)) }
      // Faults of one target follow one another, with a pause in between. The target may or may not recover in it.
      let busy = faults.filter { $0.fault.target == fault.target }
      if busy.contains(where: {
        at < $0.at + $0.lasting + .milliseconds(100) && $0.at < at + lasting + .milliseconds(100)
      }) {
        continue
      }
      faults.append(PlannedFault(fault: fault, at: at, lasting: lasting))
    }
    self.faults = faults.sorted { $0.at < $1.at }
  }

  /// A replica that lags takes the primary's place. Mostly the worker stands still meanwhile: what it has stored can't be lost any more.
  init(failoverOf seed: UInt64, round: Int) {
    var chance = Chance(seed: seed, round: round, stream: 0)
    let lag = PlannedFault(
      fault: .failOver, at: chance.duration(in: .zero ... .milliseconds(300)),
      lasting: chance.duration(in: .milliseconds(100) ... .milliseconds(3_500)))
    var faults = [lag]
    if !chance.one(in: 4) {
      let worker = Fault.hold(.worker(0))
      faults.append(PlannedFault(fault: worker, at: lag.at, lasting: lag.lasting + .milliseconds(300)))
    }
    if chance.one(in: 3) {
      faults.append(
        PlannedFault(
          fault: .kill(.node(0)), at: chance.duration(in: .zero ... .seconds(4)),
          lasting: chance.duration(in: .milliseconds(50) ... .milliseconds(500))))
    }
    self.faults = faults.sorted { $0.at < $1.at }
  }

  /// Whether a round is one of failover, where that can be done: one in eight, so that a short run has one too.
  static func failsOver(seed: UInt64, round: Int) -> Bool {
    var chance = Chance(seed: seed, round: 0, stream: 3)
    return round % 8 == chance.number(in: 0...7)
  }

  /// On which server a round is played.
  static func server(seed: UInt64, round: Int, from servers: [RedisBuild]) -> RedisBuild {
    var chance = Chance(seed: seed, round: round, stream: 4)
    return servers[chance.number(in: 0...servers.count - 1)]
  }

  private static func draw(_ means: Means, _ chance: inout Chance) -> Fault {
    let node = Role.node(chance.number(in: 0...means.nodes - 1))
    let worker = Role.worker(chance.number(in: 0...means.workers - 1))
    let link = means.links[chance.number(in: 0...means.links.count - 1)]
    switch chance.number(in: 0...(means.hasSpoolDisk ? 33 : 31)) {
    case 0...2: return .kill(node)
    case 3...8: return .kill(worker)
    case 9: return .hold(node)
    case 10...11: return .hold(worker)
    case 12: return .end(node)
    case 13: return .end(worker)
    case 14...16: return .killRedis
    case 17: return .holdRedis
    case 18: return .sleepRedis
    case 19: return .pauseRedis(writesOnly: chance.one(in: 2))
    case 20...21: return .fillRedis
    case 22: return .forgetClients
    case 23...24: return .cut(link)
    case 25...27:
      // Small numbers cut greetings, large ones a batch in its middle.
      let most = chance.one(in: 2) ? 200 : 40_000
      return .cutAfter(link, bytes: chance.number(in: 1...most), chance.one(in: 2) ? .toRedis : .fromRedis)
    case 28: return .weather(link, .late(.milliseconds(Int64(chance.number(in: 2...300)))))
    case 29: return .weather(link, .trickle(bytes: chance.number(in: 1...400)))
    case 30: return .blackhole(link, cutsAtItsEnd: chance.one(in: 2))
    case 31: return .weather(link, .closed)
    default: return .fillSpool
    }
  }
}

/// Randomness for one purpose in one round.
struct Chance: Sendable {
  private var generator: SeededGenerator

  /// - Parameter stream: Which of the round's purposes this is for.
  init(seed: UInt64, round: Int, stream: Int) {
    // Each step is mixed by the generator itself: neighbouring numbers mustn't give neighbouring streams.
    var mixer = SeededGenerator(seed: seed)
    mixer = SeededGenerator(seed: mixer.next() ^ UInt64(round))
    mixer = SeededGenerator(seed: mixer.next() ^ UInt64(stream))
    generator = SeededGenerator(seed: mixer.next())
  }

  mutating func number(in range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
  mutating func one(in count: Int) -> Bool { number(in: 1...count) == 1 }
  mutating func bits() -> UInt64 { generator.next() }

  /// In whole milliseconds.
  mutating func duration(in range: ClosedRange<Duration>) -> Duration {
    let milliseconds = { (duration: Duration) in Int(duration / .milliseconds(1)) }
    return .milliseconds(number(in: milliseconds(range.lowerBound)...milliseconds(range.upperBound)))
  }
}

extension Duration {
  /// As `1.3s`.
  var seconds: String {
    let tenths = Int((self / .milliseconds(100)).rounded())
    return "\(tenths / 10).\(tenths % 10)s"
  }
}
