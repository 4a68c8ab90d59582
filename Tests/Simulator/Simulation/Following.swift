// Publishers that follow the source. A session claims the outbox. Then a round has five steps, and anything can happen
// between two of them: Redis's time is read, then the source, then the changes are carried out in the store, then the
// store is marked, and then the changes are deleted from the outbox.

import KeyReplica
import SimulatedStore

extension Simulation {
  static let leaseTime = Duration.milliseconds(1_500)
  /// How far servers' clocks differ from the true time at most.
  static let clockError = Duration.milliseconds(200)

  /// Rows for a source, most of them active.
  func someRows() -> Holdings {
    SimulatedKeys.all.map { _ in
      random.chance(300)
        ? .none
        : Holding(
          random.chance(800) ? .active : random.pick(KeyState.allCases), account: Holding.accounts[random.below(4)],
          expiresAt: someEnd())
    }
  }

  func someClockError() -> Int64 {
    guard source != nil else { return 0 }
    let most = Int(Self.clockError.wholeNanoseconds / 1_000)
    return Int64(random.within(-most...most))
  }

  /// An application changes keys in its own database, and its customers use them at once.
  func commitToSource() {
    guard let source else { return }
    let number = source.begin((0..<random.within(1...3)).map { _ in someChange() })
    if occurs(.lateCommit) {
      agenda.add(.commit(number: number), at: now + .milliseconds(random.within(10...1_500)))
    } else {
      commit(number)
    }
  }

  func someChange() -> (key: Int, holding: Holding) { (random.below(SimulatedKeys.all.count), someRow()) }

  private func someRow() -> Holding {
    if random.chance(100) { return .none }
    return Holding(
      random.chance(650) ? .active : random.pick(KeyState.allCases), account: Holding.accounts[random.below(4)],
      expiresAt: someEnd())
  }

  private func someEnd() -> Int64? { random.chance(850) ? nil : someEndAroundNow() }

  func commit(_ number: Int) {
    guard let source else { return }
    // Before the pushes of the same moment: the application has the database's answer when it pushes.
    source.commit(number, at: now + .nanoseconds(-1))
    note { "transaction \(number) of the source is committed" }
    guard faulty, let key = source.outbox.last?.key, random.chance(500) else { return }
    ask(random.pick(nodes), SimulatedKeys.all[key])
  }

  func beginFollowing() {
    for follower in followers { begin(follower, after: .milliseconds(random.within(0...50))) }
  }

  private func begin(_ follower: SimulatedFollower, after pause: Duration) {
    follower.session += 1
    if let lease = follower.lease {
      // If it can't release its lease, its next session takes it over.
      follower.formerLease = lease
      follower.lease = nil
      let former = servers[follower.server]
      if !former.isDown, former.dataset.lease?.number == lease { former.dataset.lease = nil }
    }
    (follower.hasChanged, follower.hasTied) = (false, false)
    follower.position = nil
    follower.largest = 0
    next(follower, .readTime, after: pause)
  }

  private func end(_ follower: SimulatedFollower, _ why: String) {
    note { "follower \(follower.index) ends its session: \(why)" }
    begin(follower, after: .milliseconds(faulty ? random.within(20...400) : 50))
  }

  /// A follower's connection ends, because its address leads to another server from now on.
  func reconnect(_ follower: SimulatedFollower) {
    if follower.isRunning { end(follower, "its address leads elsewhere") }
  }

  private func next(_ follower: SimulatedFollower, _ step: SimulatedFollower.Step, after pause: Duration? = nil) {
    var pause = pause ?? .microseconds(random.within(200...(faulty && random.chance(120) ? longDelay : 3_000)))
    // So long that its lease ends.
    if occurs(.pausedFollower) { pause = Self.leaseTime + .milliseconds(random.within(100...2_500)) }
    agenda.add(.follow(follower: follower.index, session: follower.session, step), at: now + pause)
  }

  func follow(_ follower: SimulatedFollower, _ session: Int, _ step: SimulatedFollower.Step) {
    guard let source, follower.isRunning, follower.session == session else { return }
    if [.claim, .readSource, .remove].contains(step) { return read(source, for: follower, step) }
    let isNew = follower.lease == nil
    if isNew, !takeLease(follower) {
      // It stands by.
      return next(follower, .readTime, after: .milliseconds(random.within(50...300)))
    }
    let server = servers[address(of: follower)]
    guard follower.server == address(of: follower), !server.isDown, !server.isDemoted, !server.isDeposed,
      server.stalledUntil.map({ $0 <= now }) ?? true, !random.chance(server.failing)
    else { return end(follower, "Redis doesn't answer") }
    if step != .readTime, server === self.server, !server.earlier.isEmpty, occurs(.restoredUnderFollower) {
      note { "a backup is restored before follower \(follower.index) goes on" }
      if restoreSnapshot() { return end(follower, "connection reset") }
    }
    guard let lease = server.dataset.lease, lease.number == follower.lease, lease.until > now else {
      return end(follower, "its lease has ended")
    }
    server.dataset.lease?.until = now + Self.leaseTime
    if isNew {
      let meta = server.dataset.store.meta
      follower.found = (meta?.store, meta?.adopted ?? [])
      return next(follower, .claim)
    }
    switch step {
    case .readTime:
      follower.moment = server.time(at: now)
      follower.momentAt = now
      next(follower, .readSource)
    case .carryOut: carryOut(follower)
    case .mark: mark(follower)
    case .claim, .readSource, .remove: break
    }
  }

  /// The steps of a round that need the source only.
  private func read(_ source: SimulatedSource, for follower: SimulatedFollower, _ step: SimulatedFollower.Step) {
    if let until = source.awayUntil, until > now { return end(follower, "the source is away") }
    switch step {
    case .claim:
      guard let number = source.claim(for: follower.found.store, replacing: follower.found.replaced) else {
        return end(follower, "the outbox is tied to another store")
      }
      follower.claim = number
      next(follower, .readTime)
    case .readSource:
      guard source.session == follower.claim else { return end(follower, "another session has the outbox") }
      follower.rows = source.rows
      follower.entries = source.outbox
      next(follower, .carryOut)
    case .remove:
      source.remove(Set(follower.entries.map(\.number)), by: follower.claim)
      next(follower, .readTime, after: .milliseconds(random.within(20...(faulty ? 200 : 100))))
    case .readTime, .carryOut, .mark: break
    }
  }

  private func takeLease(_ follower: SimulatedFollower) -> Bool {
    let server = servers[address(of: follower)]
    guard let lease = takeLease(of: server, succeeding: follower.formerLease) else { return false }
    (follower.lease, follower.formerLease) = (lease, nil)
    follower.server = address(of: follower)
    return true
  }

  /// Takes the lease for writing the source's keys into a store, or nothing while somebody else has it.
  /// - Parameter former: A lease of the same publisher, which it may take over.
  func takeLease(of server: SimulatedServer, succeeding former: Int?) -> Int? {
    if let held = server.dataset.lease, held.until > now, held.number != former { return nil }
    leases += 1
    server.dataset.lease = (leases, now + Self.leaseTime)
    return leases
  }

  private func carryOut(_ follower: SimulatedFollower) {
    let server = servers[follower.server]
    let store = server.dataset.store
    if case .incompatible(let why) = store.position() { return end(follower, why) }
    var comparesAll = true
    if let known = follower.position {
      guard let meta = store.meta, meta.epoch == known.epoch, meta.version >= known.version else {
        return end(follower, "the store went back, or is gone")
      }
      if meta.version == known.version, meta.digest != known.digest {
        return end(follower, "the store has another content at the same version")
      }
      // Another publisher has changed it: then everything is compared.
      comparesAll = meta.version > known.version
    }
    let numbers = comparesAll ? Array(SimulatedKeys.all.indices) : Array(Set(follower.entries.map(\.key))).sorted()
    let held = store.holdings()
    let waiting = Set(follower.entries.map(\.key))
    if comparesAll, !isWithinGuard(follower.rows, held, waiting: waiting, percent: maxRevoked) {
      comparisonsStopped += 1
      return end(follower, "its comparison would take too many keys out of service")
    }
    let edits = numbers.compactMap { edit(of: $0, to: follower.rows[$0], from: held[$0], allowing: .everything) }
    follower.hasChanged = follower.hasChanged || !edits.isEmpty
    if !edits.isEmpty {
      if server.isFull { return end(follower, "Redis is full") }
      var isDone = false
      let epoch = newEpoch()
      let publish = { (store: inout SimulatedStore) throws(StoreRefusal) -> Void in
        let outcome = try store.publish(edits, now: self.seconds, newEpoch: epoch)
        isDone = !outcome.results.contains("d-")
        self.note {
          "follower \(follower.index) changes \(outcome.changed) keys; the store is at version \(outcome.version)"
        }
      }
      if server === self.server { change(bySource: true, publish) } else { change(at: server, publish) }
      guard isDone else { return end(follower, "the store refuses its changes") }
    }
    follower.position = server.dataset.store.meta.map { (epoch: $0.epoch, version: $0.version, digest: $0.digest) }
    // Sometimes before a node that has a question has received what was carried out.
    let isAtOnce = faulty && askedFor != nil && random.chance(400)
    next(follower, .mark, after: isAtOnce ? .microseconds(random.within(1...30)) : nil)
  }

  /// The edit that makes a key in the store equal to the source; nil if it is equal already.
  /// - Parameter permissions: The permissions of a put.
  func edit(
    of number: Int, to row: Holding, from held: Holding, allowing permissions: StoreEdit.Permissions
  ) -> StoreEdit? {
    guard row != held else { return nil }
    let key = SimulatedKeys.all[number]
    if let state = row.state {
      return StoreEdit(
        key: key, kind: .put(account: row.account ?? "", state), allowing: permissions,
        expiry: row.expiresAt.map { .set($0) } ?? .remove)
    }
    if held == .none || held.state == .revoked { return nil }
    return StoreEdit(key: key, kind: .setState(.revoked))
  }

  private func mark(_ follower: SimulatedFollower) {
    let server = servers[follower.server]
    let pause = Duration.milliseconds(random.within(20...(faulty ? 200 : 100)))
    guard let known = follower.position else { return next(follower, .readTime, after: pause) }
    if follower.hasChanged, server.confirming < server.replicas {
      // The changes stay in the outbox until the replicas have them.
      return next(follower, .readTime, after: pause)
    }
    if !follower.hasTied {
      guard let source, let store = server.dataset.store.meta?.store, source.tie(to: store, by: follower.claim) else {
        return end(follower, "another session has the outbox, or the store was replaced")
      }
      follower.hasTied = true
    }
    do throws(StoreRefusal) {
      let isWritten = try server.dataset.store.mark(
        follower.moment, of: known.epoch, at: known.version, digest: known.digest, now: server.time(at: now))
      if isWritten {
        server.markedAt = max(server.markedAt, follower.momentAt)
        if server === self.server {
          newestMark = max(newestMark, server.markedAt)
          // Another publisher ends what the follower has just brought and marked, best a key that somebody asks for.
          if occurs(.otherPublisher), let key = askedFor ?? source?.latest { endSoon(key) }
        }
        if let sourceBound { try server.dataset.store.setSourceMaxAge(sourceBound) }
        noteBound()
      }
      note { "follower \(follower.index) \(isWritten ? "marks" : "can't mark") the store at \(known.version)" }
    } catch {
      return end(follower, "the store refuses the mark: \(error)")
    }
    follower.hasChanged = false
    follower.largest = max(follower.largest, follower.entries.map(\.number).max() ?? 0)
    next(follower, .remove)
  }

  /// Since when the store at the address has had a maximum age for its mark without a break.
  func noteBound() {
    if server.dataset.store.meta?.sourceMaxAge == nil {
      boundSince = nil
    } else if boundSince == nil {
      boundSince = now
    }
  }

  /// Whether the store is equal to the source, and marked since the last commit.
  var isFollowed: Bool {
    guard let source else { return true }
    return source.outbox.isEmpty && newestMark > source.committedAt
      && server.dataset.store.meta.map { $0.sourceVersion == $0.version } ?? false
  }

  /// A key that a question waits for, although it is active in the source.
  private var askedFor: Int? {
    let waiting = nodes.flatMap(\.pending).compactMap { SimulatedKeys.numbers[$0.question.key] }
      .filter { source?.activeSince[$0] != nil }
    return waiting.isEmpty ? nil : random.pick(waiting)
  }

  // MARK: Faults

  func kill(_ follower: SimulatedFollower) {
    guard follower.isRunning else { return }
    follower.isRunning = false
    // A new process can't take over its lease.
    (follower.lease, follower.formerLease) = (nil, nil)
    agenda.add(.revive(follower: follower.index), at: now + .milliseconds(random.within(50...4_000)))
    // An operator helps out with a list.
    if let flaw = someListFlaw(oneIn: 2) { beginList(flaw) }
  }

  func revive(_ follower: SimulatedFollower) {
    guard !follower.isRunning else { return }
    follower.isRunning = true
    note { "follower \(follower.index) starts again" }
    begin(follower, after: .zero)
  }

  func mendFollowing() {
    guard let source else { return }
    redirectFollowers()
    maxRevoked = 100
    source.awayUntil = nil
    source.commitAll(at: now)
    for follower in followers where !follower.isRunning { revive(follower) }
  }

  // MARK: Checks

  /// Checks a refusal's statement about the source against the true source.
  func checkSource(
    _ node: SimulatedNode, _ pending: SimulatedNode.Pending, _ reason: RefusalReason, _ proof: Proof
  ) {
    guard let source, !damaged else { return }
    let (key, bySource) = (pending.question.key, node.limits.proveAgainst == .source)
    if bySource { summary.sourceProofs += 1 }
    if let sourceBound, let boundSince, boundSince < pending.askedAt,
      pending.askedAt - newestMark > sourceBound + Self.clockError * 2
    {
      fail(
        "node \(node.index) refused \(SimulatedKeys.name(key)), and the latest mark was from "
          + "\(pending.askedAt - newestMark) before the question; the bound is \(sourceBound)")
    }
    guard let number = SimulatedKeys.numbers[key], var since = source.activeSince[number] else { return }
    if reason == .expiredKey {
      // The row's end is what decides, since it has been this one.
      if wasExpired(source.rows[number], since: pending.askedAt) { return }
      since = source.unchangedSince[number]
    }
    if bySource, since < pending.askedAt {
      fail(
        "node \(node.index) refused \(SimulatedKeys.name(key)) by the source, where it has been active for "
          + "\(now - since)")
    }
    guard let moment = proof.sourceAsOf else { return }
    let markedAt = SimulatedServer.moment(of: moment) + .nanoseconds(-Self.clockError.wholeNanoseconds)
    // What another publisher changed after the mark is refused, if the store is what refusals are proven against.
    if let changed = changedByOthersAt[number], changed >= markedAt { return }
    if since < markedAt {
      fail(
        "node \(node.index) refused \(SimulatedKeys.name(key)), although it was active in the source before the mark")
    }
  }
}
