// One run: some nodes, publishers and requests against one store, in one thread and in virtual time, with everything drawn from one
// seed. First the faults, for so many steps, with every promise checked at each. Then they stop, an operator makes
// the store well, and everything must become complete and decide rightly within a bound.
//
// The course of events is here; Wire is what happens between nodes and servers, World what happens to the store, Checks what must hold.
// It is a class since its parts all work on the same state; nothing of it is shared.

import KeyReplica
import SimulatedStore

public final class Simulation {
  /// How a run went.
  public struct Summary: Sendable {
    /// The violation as text; nil if there was none.
    public var failure: String?
    public var steps = 0
    public var refusals = 0
    public var admissions = 0
    public var undecided = 0
    /// Undecided verdicts on unknown keys because of a refusal storm. They count as ``undecided`` too.
    public var storms = 0
    /// Refusals that were proven against the source. They count as ``refusals`` too.
    public var sourceProofs = 0
    /// Undecided verdicts because of the source mark. They count as ``undecided`` too.
    public var sourceStale = 0
    /// Lists with a flaw that were applied, and those that something stopped.
    public var listsApplied = 0
    public var listsStopped = 0
    public var bucketReads = 0
    public var restarts = 0
    /// How long it took after the faults had stopped until every node was in sync; nil if it didn't get there.
    public var convergence: Duration?
    /// The most commands that a node sent in one virtual second.
    public var busiestSecond = 0
    public var faults: [String: Int] = [:]
  }

  /// After the faults have stopped: the longest deadline that may have to run out twice (a conversation that is
  /// lost, and the next attempt that was begun while the store was still away), and some retries at their longest.
  public static let convergenceBound = Duration.seconds(15)

  /// No node may send more commands than this in any virtual second; each question may cost one read more.
  static let commandsPerSecond = 120

  /// Nor may it read more buckets that don't differ: each is read again in turn, and at once where a key has vanished.
  static let rereadsPerSecond = 30

  /// How long a deposed primary goes on calling itself primary, in milliseconds.
  static let longestDeposition = 4000

  private(set) var mix: FaultMix
  let bucketCount: Int
  let stepLimit: Int
  var random: SeededRandom
  var now = Instant(nanoseconds: 1_000_000_000_000)
  let start = Instant(nanoseconds: 1_000_000_000_000)
  var agenda = Agenda()
  var truth = Truth()
  var servers: [SimulatedServer] = []
  /// The server that new conversations reach.
  var address = 0
  var nodes: [SimulatedNode] = []
  var summary = Summary()
  var faulty = true
  /// Whether edits and questions still come by themselves.
  var busy = true
  /// Somebody was at the store past the scripts: how fresh what is admitted is can't be promised while records are
  /// there that can't be verified.
  var damaged = false
  /// The store's history went back or ended at some moment. A bucket that was read just then is refused, and what a mirror holds
  /// of it until it is read again is of the history that never was.
  var rewound = false {
    didSet { rewinds += 1 }
  }
  var rewinds = 0
  var epochs = 0
  /// Which store each history is one of, and the stores that each replaces, as operators said.
  var storeOfEpoch: [String: String] = [:]
  var adoptions: [String: Set<String>] = [:]
  /// The largest number of unknown keys that an operator ever confirmed.
  var confirmedUnknown = 0
  /// Recent answers of the servers' clocks to reads of the position, with their times.
  var clockReadings: [(at: Instant, time: UInt64)] = []
  /// When a server's clock last jumped, or another server took its place.
  var clockChangedAt = Instant(nanoseconds: 0)
  /// The customers' own database, and the publishers that follow it; nil in runs where keys are put by hand.
  var source: SimulatedSource?
  var followers: [SimulatedFollower] = []
  var leases = 0
  /// The server that followers are led to while their address is wrong, or were led to last.
  var wrongServer: Int?
  /// The guard of followers' comparisons, in percent of the active keys, and how many it has stopped.
  var maxRevoked = 100
  var comparisonsStopped = 0
  var lists: [SimulatedList] = []
  /// When anybody but a follower last changed each key in the store.
  var changedByOthersAt: [Instant?] = Array(repeating: nil, count: SimulatedKeys.all.count)
  /// The maximum age of the source mark that an operator has set; nil for none.
  var sourceBound: Duration?
  /// Since when the store at the address has had it.
  var boundSince: Instant?
  /// When the source was read for the latest mark of any store.
  var newestMark = Instant(nanoseconds: 0)
  var questions: UInt64 = 0
  var strays: [Int: Replica.Event] = [:]
  var strayCount = 0
  var calls: [[StoreEdit]] = []
  var lifeExpectancy = 0
  /// The bucket that comes next where a store is being rebuilt, by its server.
  var rebuilding: [Int: Int] = [:]
  /// How long this run's replies take at most, in microseconds, when they take long.
  let longDelay: Int
  let askWeight: Int
  let editWeight: Int

  private let keepsLog: Bool
  public private(set) var log: [String] = []

  /// - Parameters:
  ///   - steps: How many things happen before the faults stop.
  public init(seed: UInt64, steps: Int, keepsLog: Bool = false) {
    self.keepsLog = keepsLog
    random = SeededRandom(seed: seed)
    stepLimit = steps
    mix = FaultMix(random: &random)
    bucketCount = random.pick([2, 4, 8, 8])
    longDelay = min(random.pick([5_000, 50_000, 300_000, 900_000]), mix.isCalm ? 200_000 : .max)
    askWeight = random.within(20...60)
    editWeight = random.within(10...60)
    let replicas = random.below(2)
    // Nobody may have declared them yet. Then the next command of the publisher does.
    let isDeclared = mix[.undeclaredReplicas] == 0 || random.chance(200)
    servers = [SimulatedServer(emptyDataset(), replicas: replicas, declared: isDeclared ? replicas : nil)]
    denyCommands(at: servers[0])
    if !isDeclared {
      agenda.add(.calmDown(server: 0, .undeclaredReplicas), at: now + .milliseconds(random.within(10...6000)))
    }
    var limits = Replica.Limits()
    limits.barrierWait = .milliseconds(random.within(500...1500))
    limits.admitAge = .milliseconds(random.within(1000...4000))
    limits.positionInterval = .milliseconds(random.within(100...500))
    limits.auditInterval = .milliseconds(random.within(300...3000))
    limits.bucketsInFlight = random.within(1...4)
    limits.barrierQueue = random.pick([4, 8, 1000])
    limits.barrierInterval = .milliseconds(random.pick([0, 2, 100]))
    limits.rereadInterval = .milliseconds(random.within(100...1000))
    if !mix.isCalm, random.chance(150) {
      limits.removalMinimum = random.within(1...4)
      limits.removalWindow = .seconds(random.within(1...60))
    }
    if mix.isCalm || random.chance(500) {
      limits.stormShare = 100
    } else {
      limits.stormKeys = random.pick([2, 5, 10])
      limits.stormWindow = .seconds(random.within(1...20))
    }
    limits.lastRetry = .milliseconds(random.within(200...2000))
    if !mix.isCalm, random.chance(350) {
      source = SimulatedSource(rows: someRows(), at: now)
      mix.addFaultsOfSource(random: &random)
      // Where one may go astray alone there is another.
      followers = (0..<random.within(mix[.misdirectedFollower] > 0 ? 2...3 : 1...2)).map(SimulatedFollower.init)
      if mix[.misdirectedFollower] > 0 || random.chance(300) { maxRevoked = random.pick([5, 20, 50]) }
      if random.chance(600) { sourceBound = .milliseconds(random.within(300...1500)) }
      if random.chance(600) {
        limits.proveAgainst = .source
        limits.barrierWait = .milliseconds(random.within(1000...2000))
        limits.markInterval = .milliseconds(random.within(20...100))
      }
    }
    for index in 0..<random.within(2...5) {
      nodes.append(SimulatedNode(index: index, limits: limits, bucketCount: bucketCount, now: now))
    }
  }

  /// Runs it all.
  public func run() -> Summary {
    note { "\(self.nodes.count) nodes, \(self.bucketCount) buckets; faults: \(self.mix.description)" }
    if mix.isCalm || random.chance(700) { populate(sealed: mix.isCalm || !random.chance(mix[.unsealedStore])) }
    for node in nodes { begin(node) }
    beginFollowing()
    agenda.add(.world, at: now)
    while summary.failure == nil, summary.steps < stepLimit { step() }
    if summary.failure == nil { converge() }
    if summary.failure == nil { decideRightly() }
    return summary
  }

  private func step() {
    guard let next = agenda.next() else {
      fail("nothing is ever going to happen again")
      return
    }
    now = next.at
    summary.steps += 1
    happen(next.what)
  }

  private func happen(_ what: Happening) {
    switch what {
    case .world: world()
    case .wake(let node): wake(nodes[node])
    case .connected(let node, let session): connected(nodes[node], session)
    case .connectTimedOut(let node, let session):
      if nodes[node].connecting == session { connectFailed(nodes[node], session, "no connection in time") }
    case .execute(let node, let session, let feed): execute(nodes[node], session, feed: feed)
    case .deliver(let node, let session, let feed): deliver(nodes[node], session, feed: feed)
    case .deadline(let node, let session, let feed): deadline(nodes[node], session, feed: feed)
    case .stray(let node, let incarnation, let number):
      if let event = strays.removeValue(forKey: number), nodes[node].incarnation == incarnation {
        give(nodes[node], event)
      }
    case .restart(let node): begin(nodes[node])
    case .publish(let number): publish(calls[number])
    case .commit(let number): commit(number)
    case .follow(let follower, let session, let step): follow(followers[follower], session, step)
    case .revive(let follower): revive(followers[follower])
    case .list(let number, let step): carryOut(number, step)
    case .rebuild(let server, let bucket): rebuild(server, bucket: bucket)
    case .calmDown(let server, let kind): calmDown(servers[server], kind)
    }
  }

  // MARK: After the faults

  private func converge() {
    faulty = false
    let stopped = now
    note { "the faults stop" }
    mend()
    let quietFrom = now + .milliseconds(300)
    var confirmFrom = now
    while summary.failure == nil {
      if busy, now >= quietFrom { busy = false }
      // The last call of a publisher may be made twice.
      if !busy, now >= quietFrom + .milliseconds(400), strays.isEmpty, isFollowed, nodes.allSatisfy(isInSync) {
        summary.convergence = now - stopped
        return
      }
      if now >= confirmFrom {
        adoptStores()
        moveOutbox()
        confirmRemovals()
        confirmFrom = now + .milliseconds(500)
      }
      guard let next = agenda.nextMoment, next <= stopped + Self.convergenceBound else { break }
      step()
    }
    if summary.failure == nil, !isFollowed {
      fail("the store wasn't equal to the source \(Self.convergenceBound) after the faults had stopped")
    }
    guard summary.failure == nil, let late = nodes.first(where: { !isInSync($0) }) else { return }
    let status = late.process?.status(at: now)
    fail(
      "node \(late.index) wasn't in sync \(Self.convergenceBound) after the faults had stopped: "
        + "\(status.map { "\($0)" } ?? "it isn't running"); the store is \(servers[address].dataset.store.position())")
  }

  private func isInSync(_ node: SimulatedNode) -> Bool {
    guard let status = node.process?.status(at: now), let current = truth.current else { return false }
    // That a conversation is lost is noticed only at its next deadline.
    guard let link = node.link, !link.control.isLost, !link.feed.isLost else { return false }
    // So is a reply that was slow when the faults stopped.
    guard max(link.control.lastAt, link.feed.lastAt) < now + .milliseconds(100) else { return false }
    return status.completeness.state == .complete && status.objection == nil && status.version == current.version
      && status.epoch == current.epoch && current.sealed
  }

  /// Every key, one that nobody has, and then again after one change each way.
  private func decideRightly() {
    // Keys that vanished are undecided until their buckets have been read once more.
    turn(for: .milliseconds(800)) { false }
    // A conversation that was lost before the faults stopped may be noticed only now.
    turn(for: Self.longDeadline + .seconds(5)) {
      self.nodes.allSatisfy { self.isInSync($0) && $0.link.map { !$0.control.isLost && !$0.feed.isLost } ?? false }
    }
    // As many unknown keys as `askEverything` can ask for, so that the valve stays open.
    let most = SimulatedKeys.all.count + SimulatedKeys.strangers.count
    confirm(unknownKeys: most)
    turn(for: .seconds(3)) {
      self.nodes.allSatisfy { $0.process?.status(at: self.now).recentKeys.confirmed == most }
    }
    askEverything()
    guard summary.failure == nil, let current = truth.current else { return }
    let active = current.holdings.firstIndex { $0.isActive }
    let inactive = current.holdings.firstIndex { !$0.isActive }
    var edits: [StoreEdit] = []
    if let active { edits.append(StoreEdit(key: SimulatedKeys.all[active], kind: .setState(.revoked))) }
    if let inactive {
      edits.append(StoreEdit(key: SimulatedKeys.all[inactive], kind: .put(account: Holding.accounts[0], .active)))
    }
    if let source {
      var changes: [(key: Int, holding: Holding)] = []
      if let active { changes.append((active, .none)) }
      if let inactive { changes.append((inactive, Holding(.active, account: Holding.accounts[0]))) }
      commit(source.begin(changes))
    } else {
      publish(edits)
    }
    turn(for: .seconds(3)) { self.isFollowed && self.nodes.allSatisfy(self.isInSync) }
    confirmRemovals()
    turn(for: .seconds(3)) { self.isFollowed && self.nodes.allSatisfy(self.isInSync) }
    askEverything()
  }

  private func askEverything() {
    turn(for: nodes[0].limits.barrierWait) { self.nodes.allSatisfy(\.pending.isEmpty) }
    let answered = summary.admissions + summary.refusals
    let wasRight = truth.current
    for node in nodes {
      // Not more than may wait at once.
      for key in SimulatedKeys.all + [SimulatedKeys.stranger] where summary.failure == nil {
        ask(node, key)
        while summary.failure == nil, node.pending.count >= 4, agenda.nextMoment != nil { step() }
      }
    }
    guard summary.failure == nil else { return }
    turn(for: nodes[0].limits.barrierWait) { self.nodes.allSatisfy(\.pending.isEmpty) }
    let expected = nodes.count * (SimulatedKeys.all.count + 1)
    guard summary.failure == nil, let wasRight, wasRight.version == truth.current?.version else { return }
    if summary.admissions + summary.refusals - answered != expected {
      fail(
        "after all was well again \(expected) questions had \(summary.admissions + summary.refusals - answered) verdicts"
      )
    }
  }

  /// Goes on until something holds, for a while at most.
  private func turn(for duration: Duration, until holds: () -> Bool) {
    let end = now + duration
    while summary.failure == nil, !holds(), let next = agenda.nextMoment, next <= end { step() }
  }

  // MARK: Words

  func fail(_ why: String) {
    guard summary.failure == nil else { return }
    summary.failure = why
    note { "FAILED: \(why)" }
  }

  func note(_ words: () -> String) {
    guard keepsLog else { return }
    let milliseconds = Double((now - start).wholeNanoseconds / 1000) / 1000
    log.append("\(milliseconds) ms  \(words())")
  }

  // MARK: The servers' clocks

  /// A server's clock, in microseconds since 1970.
  func clock(of server: SimulatedServer) -> UInt64 { server.time(at: now) }

  func noteReading(of time: UInt64) {
    clockReadings.append((now, time))
    // No question is open for longer.
    if clockReadings.count > 2000 { clockReadings.removeAll { now - $0.at > .seconds(5) } }
  }

  func count(_ kind: FaultKind) { summary.faults[kind.rawValue, default: 0] += 1 }
}
