// The machine against a store under random schedules: two conversations that answer in order but whenever they like, clients
// that ask, a publisher that writes, and whatever can happen to a Redis. Virtual time only. After each event it is checked that
//
// - a refusal's proof is true: the store was in that state after the request had arrived, and the key not active in it,
// - a mirror that says it is complete is the store at the version that it names,
// - a key is admitted only if it was active at most the allowed age ago (unless somebody edited the store by hand),
// - each question is answered once, and in time,
// - the machine neither spins nor floods the store.
//
// Then the faults stop, and it must become complete and refuse what is unknown. A failure prints its seed, and SLUICE_SEED repeats it;
// SLUICE_SCHEDULES runs more of them.

import Foundation
import Testing

@testable import KeyReplica

@Suite struct ReplicaScheduleTests {
  @Test func `under any schedule nothing is refused without a proof, and it converges when faults stop`() throws {
    let given = ProcessInfo.processInfo.environment["SLUICE_SEED"]
    let first = try given.map { try #require(UInt64($0), "SLUICE_SEED must be a number") }
    let start = UInt64.random(in: 0...UInt64.max)
    var refusals = 0
    var admissions = 0
    let count = try ProcessInfo.processInfo.environment["SLUICE_SCHEDULES"].map {
      try #require(UInt64($0), "SLUICE_SCHEDULES must be a number")
    }
    for number in 0..<(first == nil ? count ?? 300 : 1) {
      let seed = first ?? start &+ number
      var schedule = Schedule(seed: seed)
      schedule.run()
      if let failure = schedule.failure {
        // Once more, this time with a log.
        schedule = Schedule(seed: seed, keepsLog: true)
        schedule.run()
        Issue.record("\(failure)\nrepeat with SLUICE_SEED=\(seed)\n\(schedule.log.suffix(60).joined(separator: "\n"))")
        return
      }
      refusals += schedule.refusals
      admissions += schedule.admissions
    }
    // A schedule in which nothing is ever decided would prove nothing.
    if first == nil, count == nil {
      #expect(refusals > 3000 && admissions > 3000, "\(refusals) refusals, \(admissions) admissions")
    }
  }
}

/// One random run.
struct Schedule {
  private enum Happening {
    case wake
    case world
    case connected(Replica.Session)
    case execute(Replica.Session, feed: Bool)
    case deliver(Replica.Session, feed: Bool)
    case deadline(Replica.Session, command: Int)
  }

  /// A command on its way, in its conversation's order.
  private struct Exchange {
    let number: Int
    let command: Replica.Command
    let sentAt: Instant
    var reply: Replica.Event?
  }

  private(set) var failure: String?
  private(set) var log: [String] = []
  private(set) var refusals = 0
  private(set) var admissions = 0

  private let keepsLog: Bool
  private var random: Jitter
  private var now = Instant(nanoseconds: 1_000_000_000_000)
  private var agenda: [(at: Instant, order: Int, what: Happening)] = []
  private var order = 0
  private var wakeAt: Instant?

  private var store: ModelStore
  private let table: KeyTable
  private var replica: Replica
  private let limits: Replica.Limits
  private let keys: [KeyID]

  private var session: Replica.Session?
  private var exchanges: [Bool: [Exchange]] = [false: [], true: []]
  private var lastAt: [Bool: Instant] = [:]
  private var commands = 0
  /// Nothing comes through, and nobody says so.
  private var halfOpen = false
  private var redisIsDown = false
  private var errors = false
  private var faulty = true
  private var quiet = false
  private var everDamaged = false
  private var open: [UInt64: (question: Question, askedAt: Instant)] = [:]
  private var nextQuestion: UInt64 = 0

  init(seed: UInt64, keepsLog: Bool = false) {
    self.keepsLog = keepsLog
    random = Jitter(state: seed)
    keys = (0..<24).map { KeyID(secret: "key \($0)".utf8) }
    let bucketCount = [2, 4, 8].randomElement(using: &random)!
    store = ModelStore(bucketCount: bucketCount)
    table = KeyTable(bucketCount: bucketCount)
    var limits = Replica.Limits()
    limits.barrierWait = .seconds(1)
    limits.admitAge = .seconds(3)
    limits.auditInterval = .milliseconds(700)
    limits.bucketsInFlight = Int.random(in: 1...4, using: &random)
    limits.barrierQueue = 8
    self.limits = limits
    replica = Replica(table: table, limits: limits, seed: seed, now: now)
  }

  mutating func run() {
    if Bool.random(using: &random) { populate() }
    add(.wake, after: .zero)
    add(.world, after: .zero)
    turn(until: now + .seconds(5))
    guard failure == nil else { return }

    faulty = false
    note("faults stop")
    heal()
    turn(until: now + .seconds(6))
    quiet = true
    turn(until: now + .seconds(2))
    guard failure == nil else { return }
    let status = replica.status(at: now)
    guard let current = store.current, status.completeness == .complete, status.objection == nil,
      status.version == current.version, status.epoch == current.epoch
    else {
      failure = "it didn't converge: \(status)\nstore: \(store.position())"
      return
    }
    let (before, stranger) = (refusals, KeyID(secret: "stranger".utf8))
    ask(stranger)
    turn(until: now + limits.barrierWait)
    if failure == nil, refusals == before { failure = "an unknown key wasn't refused after all was well again" }
  }

  // MARK: The course of events

  private mutating func add(_ what: Happening, after delay: Duration) { add(what, at: now + delay) }

  private mutating func add(_ what: Happening, at moment: Instant) {
    order += 1
    let entry = (at: moment, order: order, what: what)
    let position = agenda.lastIndex { ($0.at, $0.order) > (moment, order) }.map { $0 } ?? -1
    agenda.insert(entry, at: position + 1)
  }

  private mutating func turn(until end: Instant) {
    while failure == nil, let next = agenda.last, next.at <= end {
      agenda.removeLast()
      now = next.at
      happen(next.what)
    }
    now = max(now, end)
  }

  private mutating func happen(_ what: Happening) {
    switch what {
    case .wake:
      wakeAt = nil
      give(.timePassed)
      if let next = replica.nextWake, next <= now { failure = "it wants to be woken again at once" }
    case .world:
      world()
      add(.world, after: .milliseconds(Int.random(in: 1...60, using: &random)))
    case .connected(let session):
      if redisIsDown || (faulty && chance(10)) {
        give(.disconnected(session, reason: "connection refused"))
      } else {
        self.session = session
        halfOpen = false
        exchanges = [false: [], true: []]
        lastAt = [:]
        give(.connected(session))
      }
    case .execute(let session, let feed): execute(session, feed: feed)
    case .deliver(let session, let feed):
      guard session == self.session, !halfOpen, let reply = exchanges[feed]!.first?.reply else { return }
      exchanges[feed]!.removeFirst()
      give(reply)
    case .deadline(let session, let command):
      if session == self.session, exchanges.values.joined().contains(where: { $0.number == command }) {
        drop("no answer in time")
      }
    }
  }

  private mutating func give(_ event: Replica.Event) {
    let produced = replica.handle(event, now: now)
    if keepsLog {
      note("\(event)".prefix(200) + " → " + produced.map { "\($0)".prefix(160) }.joined(separator: "; "))
    }
    for command in produced { carryOut(command) }
    switch event {
    case .manifest, .bucket, .changes: check(contents: true)
    default: check(contents: false)
    }
    if let next = replica.nextWake, wakeAt.map({ next < $0 }) ?? true {
      wakeAt = next
      add(.wake, at: max(next, now))
    }
  }

  private mutating func carryOut(_ command: Replica.Command) {
    switch command {
    case .connect(let session): add(.connected(session), after: delay())
    case .disconnect(let session): if session == self.session { self.session = nil }
    case .readManifest(let session, _), .readBucket(let session, _), .readPosition(let session, _):
      send(command, session, feed: false)
    case .readChanges(let session, _): send(command, session, feed: true)
    case .answer(let question, let verdict): answered(question, verdict)
    case .note: break
    }
  }

  // MARK: The two conversations

  private mutating func send(_ command: Replica.Command, _ session: Replica.Session, feed: Bool) {
    commands += 1
    guard session == self.session else {
      failure = "a command for a session that is over: \(command)"
      return
    }
    exchanges[feed]!.append(Exchange(number: commands, command: command, sentAt: now))
    add(.deadline(session, command: commands), after: feed ? .seconds(2) : .seconds(1))
    if exchanges[feed]!.count == 1 || !feed { later(.execute(session, feed: feed), feed: feed) }
  }

  /// After a random time, but not before what is on its way in the same conversation.
  private mutating func later(_ what: Happening, feed: Bool) {
    let moment = max(lastAt[feed] ?? now, now + delay())
    lastAt[feed] = moment
    add(what, at: moment)
  }

  private mutating func execute(_ session: Replica.Session, feed: Bool) {
    guard session == self.session, !halfOpen,
      let index = exchanges[feed]!.firstIndex(where: { $0.reply == nil })
    else { return }
    let exchange = exchanges[feed]![index]
    let failed: Replica.ReadFailure? = errors && chance(30) ? Replica.ReadFailure("LOADING") : nil
    func result<Value>(_ value: Value) -> Result<Value, Replica.ReadFailure> {
      failed.map { .failure($0) } ?? .success(value)
    }
    let reply: Replica.Event
    switch exchange.command {
    case .readManifest(_, let read): reply = .manifest(session, read: read, result(store.manifest()))
    case .readBucket(_, let bucket): reply = .bucket(session, bucket, result(store.bucket(bucket)))
    case .readPosition(_, let read): reply = .position(session, read: read, result(store.position()))
    case .readChanges(_, let version):
      let changes = store.changes(after: version)
      if changes.isEmpty, failed == nil, now < exchange.sentAt + .seconds(1) {
        add(.execute(session, feed: true), after: .milliseconds(100))
        return
      }
      reply = .changes(session, result(Array(changes.prefix(Int.random(in: 1...5, using: &random)))))
    default: return
    }
    exchanges[feed]![index].reply = reply
    later(.deliver(session, feed: feed), feed: feed)
  }

  private mutating func drop(_ reason: String) {
    guard let session else { return }
    self.session = nil
    give(.disconnected(session, reason: reason))
  }

  // MARK: The world

  private mutating func world() {
    if quiet { return }
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<35: ask(keys.randomElement(using: &random)!)
    case 35..<40: for _ in 0..<12 { ask(keys.randomElement(using: &random)!) }
    case 40..<75: write()
    case 75..<78 where faulty: drop("cut")
    case 78 where faulty: halfOpen = true
    case 79..<82 where faulty:
      redisIsDown.toggle()
      if redisIsDown { drop("down") }
    case 82..<84 where faulty: errors.toggle()
    case 84..<87 where faulty: store.trim(to: Int.random(in: 0...3, using: &random))
    case 87 where faulty: store.vanish(at: now)
    case 88..<90 where faulty: populate()
    case 90..<93 where faulty:
      store.rewind(by: Int.random(in: 1...5, using: &random), at: now)
      if Bool.random(using: &random) { drop("failover") }
    case 93..<96 where faulty:
      everDamaged = true
      store.damaged[Int.random(in: 0..<store.bucketCount, using: &random)] = ModelStore.Damage.allCases
        .randomElement(using: &random)
    case 96 where faulty:
      everDamaged = true
      store.wrongTotal.toggle()
    case 97..<99 where faulty: store.damaged = [:]
    default: break
    }
  }

  private mutating func write() {
    store.put(keys.randomElement(using: &random)!, randomRecord(), at: now)
  }

  private mutating func populate() {
    var records: [KeyID: KeyRecord] = [:]
    for key in keys where Bool.random(using: &random) { records[key] = randomRecord() }
    store.begin(with: records, sealed: !faulty || !chance(20), at: now)
  }

  private mutating func randomRecord() -> KeyRecord {
    let state = KeyState.allCases.randomElement(using: &random)!
    return KeyRecord(
      state: Bool.random(using: &random) ? .active : state, since: Int64(order),
      account: "account \(Int.random(in: 0..<4, using: &random))")
  }

  private mutating func heal() {
    redisIsDown = false
    errors = false
    if halfOpen { drop("reset") }
    store.damaged = [:]
    store.wrongTotal = false
    if store.current == nil { populate() }
    if store.current?.sealed == false { store.seal(at: now) }
  }

  private mutating func ask(_ key: KeyID) {
    nextQuestion += 1
    let question = Question(number: nextQuestion, key: key)
    open[question.number] = (question, now)
    give(.asked(question))
  }

  // MARK: What must hold

  private mutating func answered(_ question: Question, _ verdict: Verdict) {
    guard let (_, askedAt) = open.removeValue(forKey: question.number) else {
      failure = "question \(question.number) was answered twice, or never asked"
      return
    }
    switch verdict {
    case .undecided: break
    case .admit(let account):
      admissions += 1
      let earliest = Instant(nanoseconds: now.nanoseconds - limits.admitAge.wholeNanoseconds)
      let known = store.states(since: earliest).contains {
        $0.keys[question.key].map { $0.state == .active && $0.account == account } ?? false
      }
      if !known, !everDamaged { failure = "\(question) was admitted, but wasn't active in the last \(limits.admitAge)" }
    case .refuse(let reason, let proof):
      refusals += 1
      if proof.asOf < askedAt { failure = "the proof is older than the question: \(proof), asked at \(askedAt)" }
      let holds = store.states(since: proof.asOf).contains { state in
        let expected: RefusalReason? =
          switch state.keys[question.key]?.state {
          case .active: nil
          case .suspended: .suspendedKey
          case .revoked: .revokedKey
          case nil: .unknownKey
          }
        return state.epoch == proof.epoch && state.version == proof.version && state.sealed && reason == expected
      }
      if !holds { failure = "\(question) was refused as \(reason), but that isn't what \(proof) was" }
    }
  }

  private mutating func check(contents: Bool) {
    if let late = open.values.first(where: { now > $0.askedAt + limits.barrierWait }) {
      failure = "nobody answered \(late)"
    }
    let bound = 400 + Int((now.nanoseconds - 1_000_000_000_000) / 1_000_000_000) * 150
    if commands > bound { failure = "\(commands) commands after \(now.nanoseconds - 1_000_000_000_000) ns" }
    let status = replica.status(at: now)
    if status.objection == nil, status.completeness != .complete { failure = "it would refuse, but is \(status)" }
    // Looking at every key is slow, and only these events can change any.
    guard contents, status.completeness == .complete else { return }
    let matches = ([store.current].compactMap { $0 } + store.history.reversed()).contains { state in
      state.epoch == status.epoch && state.version == status.version && state.keys.count == status.keys
        && keys.allSatisfy { key in
          let found = table.find(key)
          return found?.state == state.keys[key]?.state && found?.account == state.keys[key]?.account
        }
    }
    if !matches {
      failure = "it says it is complete at \(status.version), but isn't what the store was then"
      note(
        "mirror: " + keys.map { key in "\(key) \(table.find(key).map { "\($0)" } ?? "none")" }.joined(separator: ", "))
      for state in store.history.suffix(4) + [store.current].compactMap({ $0 }) { note("store: \(state)") }
    }
  }

  private mutating func note(_ line: String) {
    if keepsLog { log.append("\(now.nanoseconds / 1_000_000 - 1_000_000) ms \(line)") }
  }

  private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
  private mutating func delay() -> Duration {
    // Mostly quick, at times slow enough for anything to come in between.
    .microseconds(Int.random(in: 200...(chance(15) ? 300_000 : 5_000), using: &random))
  }
}
