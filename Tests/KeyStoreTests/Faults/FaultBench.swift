// One store, one mirror of it, one fault. Every fault goes the same way: the mirror is complete and asked without a pause, the fault
// strikes, it must be named in time, the store is mended, and the mirror must be well again. What differs is in StoreFault.

import Hiredis
import KeyReplica
import NIOCore
import NIOPosix
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

/// The faults of a store, and the state that a mirror must report for each.
struct StoreFault: Sendable, CustomTestStringConvertible {
  typealias Step = @Sendable (FaultBench) async throws -> Void

  /// Whether a proof that was read after the fault had struck is as good as any.
  enum Strangers: Sendable {
    /// No: the store's position tells already.
    case undecided
    /// Until the mirror has noticed: the store's position says nothing of the fault.
    case undecidedOnceNoticed
    /// Yes: the store itself is well after it.
    case provable
  }

  var name: String
  var options = RedisServerOptions { $0.arguments = ["--repl-diskless-sync-delay", "0"] }
  var limits: @Sendable (inout Replica.Limits) -> Void = { _ in }
  /// Words in the status, one of which must be there in time. None where the fault is harmless, or over too soon to be seen.
  var status: [String] = []
  /// Words in the log, one of which must be there in time.
  var log: [String] = []
  /// The bound on that, with the limits that are used here; a second more is allowed for a busy machine.
  var within = Duration.milliseconds(500)
  var strangers = Strangers.undecided
  /// Whether the fault is over without anybody doing something.
  var passes = false
  /// Before the mirror is begun.
  var prepare: Step = { _ in }
  /// While it is well and asked.
  var approach: Step = { _ in }
  var strike: Step
  var mend: Step = { _ in }

  var testDescription: String { name }
  var isHarmless: Bool { status.isEmpty && log.isEmpty }
}

final class FaultBench {
  /// The server that is at the address, or should be.
  private(set) var store: StoreBench
  let address: MovableAddress
  private(set) var asker: KeyAsker!
  /// Another server, for faults that need one.
  var second: StoreBench?
  /// Work of a fault that goes on while the mirror is looked at.
  var background: Task<Void, any Error>?
  private var driver: ReplicaDriver!

  /// Active in every store of every test, from its beginning to its end.
  static let steady = (0..<300).map { "key \($0)" }
  /// Of these, the one that something is done to.
  static let victim = "key 1"
  /// Active at first, then revoked where a fault needs that.
  static let ended = "ended"

  private init(_ options: RedisServerOptions) async throws {
    store = try await StoreBench(try await RedisServer.start(options))
    address = try MovableAddress()
    try address.lead(to: store.redis)
  }

  var victimBucket: String { store.bucket(of: Self.victim) }
  var victimID: [UInt8] { KeyID(secret: Self.victim.utf8).bytes }

  // MARK: Steps that several faults share

  /// Puts all keys, and seals the store.
  func populate(_ bench: StoreBench? = nil, account: String = "acme") async throws {
    let bench = bench ?? store
    try await bench.put(Self.steady + [Self.ended], account: account)
    _ = try await bench.writer.seal()
    if driver != nil { try await adopt() }
  }

  /// An operator says that the store that is there now has replaced the mirrored one.
  func adopt() async throws {
    guard let mirrored = try await status().store else { return }
    try await store.writer.adopt(mirrored.id)
  }

  /// An operator says that what was lost may be gone.
  func confirm() async throws { _ = try await store.writer.confirmRemovals() }

  /// Changes that a rewound store lacks: this number of keys is put, and one is revoked. The mirror has them.
  func changeWhatWillBeLost(puts: Int = 3) async throws {
    try await store.put((0..<puts).map { "lost \($0)" })
    let outcome = try await store.writer.apply([.set(Self.ended, .revoked)])
    try await eventually("the mirror has followed") { try await status().version == outcome.version }
    let verdict = try await verdict(Self.ended)
    if case .admit = verdict { Issue.record("a key that was revoked is admitted") }
  }

  /// Puts this number of keys at once, which are active from then on.
  func putNewcomers(_ count: Int, at bench: StoreBench? = nil) async throws {
    let keys = (0..<count).map { "new \($0)" }
    if !keys.isEmpty { _ = try await (bench ?? store).writer.apply(keys.map { .put($0) }) }
    asker.include(keys + [Self.ended])
  }

  /// Restores the last saved state of the store, in one step with this number of puts, while all connections stay open.
  func rewindInPlace(putting count: Int) async throws {
    let keys = (0..<count).map { "new \($0)" }
    let begun = store.connection.send(RedisCommand("MULTI"))
    let reloaded = store.connection.send(RedisCommand("DEBUG", "RELOAD", "NOSAVE"))
    let put = keys.isEmpty ? nil : store.writer.submit(keys.map { .put($0) })
    _ = try await store.connection.execute(RedisCommand("EXEC")).array().map { try $0.orThrow() }
    _ = try await begun.get()
    _ = try await reloaded.get()
    // Its reply was only that it is queued.
    _ = try? await put?.get()
    asker.include(keys + [Self.ended])
  }

  /// Ends the server without a word and starts it again on what was saved last, out of reach.
  func restartOutOfReach() async throws {
    try address.withdraw()
    try await store.redis.restart()
    store = try await StoreBench(store.redis)
  }

  /// Starts a second server that follows the first.
  func startReplica() async throws {
    let replica = try await StoreBench(try await RedisServer.start(store.redis.options))
    second = replica
    try await replica.run("REPLICAOF", "127.0.0.1", store.redis.port)
    let offset = try await store.run("ROLE").array()[1].integer()
    try await eventually("the replica has all") {
      let role = try await replica.run("ROLE").array()
      return try role[3].string() == "connected" && role[4].integer() >= offset
    }
  }

  /// As the publisher does.
  func declare(replicas: Int) async throws { try await store.run("HSET", store.layout.meta, "replicas", replicas) }

  /// The first server is gone for good, and the second is where it was.
  func takeOver() async throws {
    let first = store
    guard let second else { throw NeverHappened(description: "there is no second server") }
    store = second
    self.second = nil
    try address.lead(to: store.redis)
    try await first.redis.kill9()
    first.redis.folder.remove()
  }

  /// Runs commands in one step.
  func atomically(_ commands: [RedisCommand]) async throws {
    let replies = try await store.connection.execute([RedisCommand("MULTI")] + commands + [RedisCommand("EXEC")])
    for reply in try replies[replies.count - 1].array() { _ = try reply.orThrow() }
  }

  func bucketsInRedis() async throws -> Int { try await store.run("KEYS", "*bucket*").array().count }

  func cutConnections() async throws { try await store.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }

  func verdict(_ secret: String) async throws -> Verdict {
    try await driver.verdict(of: KeyID(secret: secret.utf8)).get()
  }

  func status() async throws -> ReplicaStatus { try await driver.status().get() }

  // MARK: One fault, from before until after

  private static let floors = (active: 100, strangers: 5)
  private static let slack = Duration.seconds(1)

  /// - Parameter quietly: Nobody asks for a proof before the fault has been noticed.
  static func play(_ fault: StoreFault, quietly: Bool = false) async throws {
    let bench = try await FaultBench(fault.options)
    try await bench.populate()
    try await fault.prepare(bench)
    bench.begin(fault.limits)
    try await eventually("mirror complete") { try await bench.isWell() }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { [asker = bench.asker!] in try await asker.run() }
      try await bench.play(fault, quietly: quietly)
      group.cancelAll()
      try await group.waitForAll()
    }
    bench.driver.stop()
    for server in [bench.store.redis, bench.second?.redis].compactMap({ $0 }) {
      if server.pid != nil { try await server.kill9() }
      server.folder.remove()
    }
  }

  private func begin(_ change: (inout Replica.Limits) -> Void) {
    var limits = Replica.Limits()
    limits.barrierWait = .milliseconds(200)
    limits.lastRetry = .milliseconds(200)
    // Faults that these would notice have test cases of their own.
    limits.auditInterval = .seconds(3600)
    limits.rereadInterval = .seconds(3600)
    // Every stranger has another key, and most keys may be strangers' here.
    limits.stormShare = 100
    change(&limits)
    let journal = Journal()
    driver = ReplicaDriver(
      endpoint: address.endpoint, layout: StoreLayout(), limits: limits, name: "mirror",
      on: MultiThreadedEventLoopGroup.singleton.any(), logger: journal.logger)
    asker = KeyAsker(driver, journal: journal, active: Self.steady, always: [Self.victim])
    driver.start()
  }

  private func isWell() async throws -> Bool {
    let status = try await status()
    return status.completeness.state == .complete && status.objection == nil
  }

  private func play(_ fault: StoreFault, quietly: Bool) async throws {
    asker.askStrangers(!quietly)
    // The fault is noticed by a change of the state. So the mirror must first be complete, and known to be.
    if !quietly {
      try await eventually("a stranger is refused before the fault") {
        if case .refuse = try await verdict("nobody") { try await isWell() } else { false }
      }
    }
    try await fault.approach(self)
    if !quietly { try await answersCome(in: .before) }
    asker.enter(.during)
    let began = Instant.now
    try await fault.strike(self)
    let struck = Instant.now
    let seen = try await notice(of: fault, since: began)
    asker.askStrangers(true)
    if !fault.passes { try await answersCome(in: .during) }
    let mending = Instant.now
    try await fault.mend(self)
    let mended = Instant.now
    try await eventually(within: .seconds(15), "the mirror is well again") { try await isWell() }
    try await eventually("a stranger is refused, with a proof from after the fault") {
      guard case .refuse(.unknownKey, let proof) = try await verdict("nobody") else { return false }
      return proof.asOf >= mended
    }
    let healed = Instant.now
    try await answersCome(in: .during)
    asker.enter(.after)
    try await answersCome(in: .after)

    let record = asker.record
    #expect(record.wrong.isEmpty, "active keys were refused, \(record.wrongCount) times")
    for key in Self.steady + [Self.victim] {
      let verdict = try await verdict(key)
      guard case .admit = verdict else {
        Issue.record("\(key) is active, but the verdict is \(verdict)")
        continue
      }
    }
    let strictSince: Instant? =
      switch fault.strangers {
      case .undecided: struck
      case .undecidedOnceNoticed: seen.at
      case .provable: nil
      }
    if let strictSince, !fault.isHarmless, !fault.passes {
      let early = record.refusals.filter { $0.proof.asOf > strictSince && $0.heardAt < mending }
      #expect(early.isEmpty, "strangers were refused by a store that isn't well")
    }
    if fault.isHarmless {
      let troubles = record.signs.filter {
        $0.at >= began && !$0.isWell && !$0.text.hasSuffix("no objection, behind the store")
      }
      #expect(troubles.isEmpty, "this is nothing to complain about")
    }
    #expect(record.undecided.isEmpty, "active keys weren't admitted all the time")
    let kept = "not admitted: \(record.undecided), at first: \(record.undecidedAtFirst)"
    print(
      "FAULT | \(fault.name) | \(seen.text) | after \(began.until(seen.at)) | well \(mended.until(healed)) after mending | "
        + "\(KeyAsker.Phase.allCases.map { record.answers[$0, default: 0] }) answers, \(kept)")
  }

  /// Floors: a fault that nobody was there to see proves nothing.
  private func answersCome(in phase: KeyAsker.Phase) async throws {
    let before = asker.record
    try await eventually("enough is asked \(phase) the fault") {
      let now = asker.record
      return now.answers[phase, default: 0] >= Self.floors.active
        && now.strangers[phase, default: 0] >= Self.floors.strangers
        && (now.answers[phase] ?? 0) > (before.answers[phase] ?? 0)
    }
  }

  /// Waits until the fault is named everywhere where it must be.
  private func notice(of fault: StoreFault, since began: Instant) async throws -> (at: Instant, text: String) {
    guard !fault.isHarmless else { return (began, "nothing") }
    var seen: (at: Instant, text: String)?
    do {
      try await eventually(within: fault.within + Self.slack, "it is noticed") {
        let record = asker.record
        let sign = record.signs.first { sign in
          sign.at >= began && !sign.isWell && fault.status.contains { sign.text.contains($0) }
        }
        let line = record.log.first { line in line.at >= began && fault.log.contains { line.text.contains($0) } }
        if !fault.status.isEmpty, sign == nil { return false }
        if !fault.log.isEmpty, line == nil { return false }
        seen = sign.map { ($0.at, $0.text) } ?? line.map { ($0.at, "(log) \($0.text)") }
        return true
      }
    } catch let error as NeverHappened {
      let record = asker.record
      let signs = record.signs.filter { $0.at >= began }.map { "  \(began.until($0.at)) \($0.text)" }
      let lines = record.log.filter { $0.at >= began }.map { "  \(began.until($0.at)) \($0.text)" }
      // The rest is looked at all the same.
      let text =
        "\(error)\nexpected in the status one of \(fault.status), in the log one of \(fault.log)\nstatus:\n"
        + signs.joined(separator: "\n") + "\nlog:\n" + lines.suffix(40).joined(separator: "\n")
      Issue.record(Comment(rawValue: text))
    }
    return seen ?? (.now, "not noticed")
  }
}

extension Instant {
  /// In milliseconds, for a person.
  fileprivate func until(_ later: Instant) -> String { "\((later.nanoseconds - nanoseconds) / 1_000_000) ms" }
}
