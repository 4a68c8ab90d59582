// What must hold. The promises are checked at each step, against what was true and not against what anybody said:
//
// a. A key that was active before its request came, and until the answer, is never refused.
// b. A node that says its mirror is complete has the store of the version that it names.
// c. When all is well again active keys are admitted and others refused (Simulation.decideRightly).
// d. Each question is answered once, within its bound.
// e. A refusal's proof is true: epoch, version and reason are what a read after the request's arrival saw.
// f. A key is admitted only as what it was, and only if it was that at most the allowed age ago.
// g. What was mirrored goes on serving: a key that is active all the time isn't lost from a mirror.
// h. A node reads only buckets that differ, no node is busy for nothing, and where nothing goes wrong none raises an
//    alarm.
// i. On the word of another store than the one that a node has mirrored, nobody is refused, unless an operator said that it was replaced.
// j. A key that was active in a mirror is refused as unknown only if the store has ended it since, or an operator has
//    confirmed, and the node heard of that after it last had the key in a whole mirror.
// k. While most keys that clients send to a node are unknown, the node refuses no key as unknown: a refusal storm.
// l. A key is refused as expired only if Redis's clock, read after the request's arrival, had reached the key's end.
//    Soon after that no node admits it.
// m. Beyond the maximum age of the source mark nobody is refused.
// n. Where refusals are proven against the source, a key that was active in the source before its request came, and
//    until the answer, is never refused before its end there. Elsewhere it is never refused if it was active in the
//    source before the mark that the refusal says, and nobody but a follower has changed it since.
// o. A list changes no key that the store changed after the list was begun (Lists).

import KeyReplica
import SimulatedStore

extension Simulation {
  // MARK: Verdicts

  func answered(_ node: SimulatedNode, _ question: Question, _ verdict: Verdict) {
    guard let place = node.pending.firstIndex(where: { $0.question.number == question.number }) else {
      return fail("node \(node.index) answered question \(question.number) twice, or nobody asked it")
    }
    let pending = node.pending.remove(at: place)
    switch verdict {
    case .undecided(let why):
      summary.undecided += 1
      if case .sourceStale = why { summary.sourceStale += 1 }
      guard case .refusalStorm = why else { break }
      summary.storms += 1
      node.unknownAt[question.key] = now
    case .admit(let account):
      summary.admissions += 1
      node.admittedAt[question.key] = now
      checkAdmission(node, question.key, account: account)
    case .refuse(let reason, let proof):
      summary.refusals += 1
      checkRefusal(node, pending, reason, proof)
      if reason == .unknownKey { checkValve(node, question.key) }
    }
  }

  /// The valve's counts cover at least half of its window, and at most all of it. So the valve must be closed if the
  /// unknown keys of the last half are too many even beside the admitted keys of the whole window.
  private func checkValve(_ node: SimulatedNode, _ key: KeyID) {
    node.unknownAt[key] = now
    let window = node.limits.stormWindow
    // The valve counts two keys with the same 16 bits once: see RecentKeys.
    let since = earlier(by: window / 2)
    let unknown = Set(node.unknownAt.lazy.filter { $0.value >= since }.map { $0.key.words.3 & 0xffff }).count
    let admitted = node.admittedAt.values.count { $0 >= earlier(by: window) }
    guard unknown >= node.limits.stormKeys, unknown * 100 > node.limits.stormShare * (unknown + admitted),
      unknown > RecentKeyCounts.multiple * confirmedUnknown
    else { return }
    fail(
      "node \(node.index) refused \(SimulatedKeys.name(key)) as unknown, the last of \(unknown) unknown keys beside "
        + "\(admitted) that were admitted")
  }

  /// Whether a server's clock, as it was read since then, had reached the end of the key.
  func wasExpired(_ holding: Holding, since then: Instant) -> Bool {
    clockReadings.contains { $0.at >= then && holding.hasExpired(at: $0.time) }
  }

  /// How long a node may admit a key after Redis's clock has reached the key's end, while it hears from the store: the
  /// longest time that a deposed primary answers, and some reads.
  private static let expirySlack = Duration.milliseconds(longestDeposition + 2000)

  private func checkExpiry(_ node: SimulatedNode, _ key: KeyID) {
    // While the server denies its time, or its clock has just jumped, nothing can be expected.
    guard mix[.deniedCommands] == 0, now - clockChangedAt > Self.expirySlack, now - node.bornAt > Self.expirySlack,
      !isHeldBack(node, key), let server = node.link?.server,
      let age = node.process?.status(at: now).age, age <= .seconds(1)
    else { return }
    let then = clock(of: servers[server]) - UInt64(Self.expirySlack.wholeNanoseconds / 1000)
    let holding = Holding(of: key, in: node.table)
    if holding.isActive, holding.hasExpired(at: then) {
      fail("node \(node.index) admitted \(SimulatedKeys.name(key)), which ended long ago by Redis's clock")
    }
  }

  private func checkAdmission(_ node: SimulatedNode, _ key: KeyID, account: String) {
    checkExpiry(node, key)
    let held = Holding(.active, account: account)
    let number = SimulatedKeys.numbers[key]
    func was(since then: Instant) -> Bool { number.map { truth.was($0, held, since: then) } ?? false }
    if !was(since: start) {
      return fail("node \(node.index) admitted \(SimulatedKeys.name(key)) for \(account), which it never was")
    }
    let slack = isRestored(node, node.process?.held(key)?.until) ? node.restoredSlack : .zero
    let bound = node.limits.admitAge + slack + depositionSlack
    guard let status = node.process?.status(at: now), status.quarantined == 0, !node.guardMoved,
      !isHeldBack(node, key)
    else { return }
    // Where changes of two histories met, one was applied before the total told; the mirror isn't complete then.
    if rewound, status.completeness.state != .complete { return }
    if !damaged, !was(since: earlier(by: bound)) {
      fail("node \(node.index) admitted \(SimulatedKeys.name(key)), which hasn't been active for \(bound)")
    }
  }

  /// What a deposed primary says counts as fresh for admitting as long as it calls itself primary, and never for refusing.
  private var depositionSlack: Duration { mix[.deposedPrimary] > 0 ? .milliseconds(Self.longestDeposition) : .zero }

  /// A key whose removal is held back until an operator confirms it is admitted on purpose; after a restart, too.
  func isHeldBack(_ node: SimulatedNode, _ key: KeyID) -> Bool {
    guard let holding = node.process?.held(key) else { return false }
    if case .quarantined = holding.source { return true }
    // Until it is read again, the bucket is as the state file had it.
    return node.restoredHeldBack.contains(key)
  }

  /// Whether that counts from what the state file said, by a clock that may have been wrong.
  func isRestored(_ node: SimulatedNode, _ deadline: Instant?) -> Bool {
    guard let deadline, let heardAt = node.restoredHeardAt else { return false }
    return deadline <= heardAt + node.limits.admitAge
  }

  private func checkRefusal(
    _ node: SimulatedNode, _ pending: SimulatedNode.Pending, _ reason: RefusalReason, _ proof: Proof
  ) {
    let key = pending.question.key
    let number = SimulatedKeys.numbers[key]
    if reason != .expiredKey, let number, let since = truth.activeSince[number], since < pending.askedAt {
      return fail(
        "node \(node.index) refused \(SimulatedKeys.name(key)), which has been active for \(now - since)")
    }
    if proof.asOf < pending.askedAt {
      return fail("node \(node.index) refused \(SimulatedKeys.name(key)) by a read sent before it was asked")
    }
    let holds = truth.since(pending.askedAt).contains { snapshot in
      let expected: RefusalReason? =
        switch number.map({ snapshot.holdings[$0].state }) ?? nil {
        case .active:
          number.map { wasExpired(snapshot.holdings[$0], since: pending.askedAt) } ?? false ? .expiredKey : nil
        case .suspended: .suspendedKey
        case .revoked: .revokedKey
        case nil: number.map { snapshot.holdings[$0] == .unreadable } ?? false ? nil : .unknownKey
        }
      return snapshot.epoch == proof.epoch && snapshot.version == proof.version && snapshot.sealed
        && !snapshot.isPassing && expected == reason
    }
    checkSource(node, pending, reason, proof)
    checkStore(node, epoch: proof.epoch)
    if reason == .unknownKey, let number { checkLoss(node, number) }
    if !holds {
      fail(
        "node \(node.index) refused \(SimulatedKeys.name(key)) as \(reason.rawValue), but that isn't what the store was "
          + "at version \(proof.version) of \(proof.epoch), or it wasn't that since the request came")
    }
  }

  /// Whether a node may follow that history: it is one of the store that the node has mirrored, or of one that replaces it.
  private func checkStore(_ node: SimulatedNode, epoch: String) {
    if let store = storeOfEpoch[epoch] { checkStore(node, store: store) }
  }

  private func checkStore(_ node: SimulatedNode, store: String) {
    guard let trusted = node.trusted, store != trusted else { return }
    if !(adoptions[store]?.contains(trusted) ?? false) {
      fail("node \(node.index) has mirrored the store \(trusted), and goes by the store \(store)")
    }
  }

  /// Whether a key that a node had as active may be unknown now. Records of active keys don't disappear by what publishers do.
  private func checkLoss(_ node: SimulatedNode, _ number: Int) {
    guard let since = node.becameActive[number] else { return }
    // A node's reading may be as old as the longest deadline.
    let then = since + .nanoseconds(-(Self.longDeadline + .seconds(1)).wholeNanoseconds)
    if node.confirmations.mayCover(number, knownSince: since) { return }
    if !truth.ended(number, since: then) {
      fail("node \(node.index) refused key \(number), which was active, and vanished from the store")
    }
  }

  func earlier(by duration: Duration) -> Instant { now + .nanoseconds(-duration.wholeNanoseconds) }

  // MARK: After each event

  /// Records the buckets that an event gives a node a reason to read.
  func willGive(_ node: SimulatedNode, _ event: Replica.Event) {
    node.confirmations.offer(event)
    guard case .manifest(_, _, .success(.found(let manifest))) = event else { return }
    node.mayRead = Set(
      manifest.buckets.indices.filter { index in
        guard let summary = manifest.buckets[index] else { return true }
        return node.table.contents(ofBucket: index) != (summary.count, summary.digest)
          || manifest.lengths[index] != summary.count || summary.version > manifest.position.version
      })
  }

  func mayRead(_ node: SimulatedNode, bucket index: Int) {
    summary.bucketReads += 1
    if node.mayRead.remove(index) != nil { return }
    // Now and then one is read again, to see whether somebody edited it.
    node.rereadsInWindow += 1
    if node.rereadsInWindow > Self.rereadsPerSecond {
      fail("node \(node.index) reads bucket \(index), which doesn't differ, and that too often")
    }
  }

  func sent(_ node: SimulatedNode) {
    if now - node.windowStart >= .seconds(1) {
      node.windowStart = now
      node.commandsInWindow = 0
      node.rereadsInWindow = 0
      node.questionsInWindow = node.pending.count
    }
    node.commandsInWindow += 1
    summary.busiestSecond = max(summary.busiestSecond, node.commandsInWindow - node.questionsInWindow)
    // While questions wait for a source mark, the position is read again and again.
    let forMarks = node.limits.proveAgainst == .source ? Int(Duration.seconds(1) / node.limits.markInterval) : 0
    if node.commandsInWindow > Self.commandsPerSecond + forMarks + node.questionsInWindow {
      fail("node \(node.index) sent \(node.commandsInWindow) commands within a second")
    }
  }

  func noted(_ node: SimulatedNode, _ note: Replica.Note) {
    // From here on the node mirrors this store, even if it isn't complete yet for another reason.
    if case .mirrors(let store) = note {
      checkStore(node, store: store.id)
      node.trusted = store.id
    }
    guard mix.isCalm else { return }
    switch note {
    case .connected, .reading, .complete, .mirrors: break
    case .storeAway, .bucketRefused, .resync, .trouble, .readFailed, .guarded, .guardReleased, .vanished, .revived,
      .unfenced, .fenced, .refusalStorm, .refusalStormOver, .sourceStale, .sourceRecent, .sourceMaxAgeLost:
      fail("node \(node.index) raised an alarm although nothing was wrong: \(note)")
    }
  }

  func check(_ node: SimulatedNode, after event: Replica.Event) {
    guard let process = node.process else { return }
    if let oldest = node.pending.first, now > oldest.askedAt + node.limits.barrierWait {
      fail("node \(node.index) left a question open for \(now - oldest.askedAt)")
    }
    let status = process.status(at: now)
    if status.objection == nil, status.completeness.state != .complete, status.completeness.state != .guarded {
      fail("node \(node.index) would refuse, but is \(status.completeness.state.rawValue)")
    }
    // Only these can change what is mirrored.
    switch event {
    case .changes(_, .success(let changes)) where changes.isEmpty: break
    case .manifest, .bucket, .changes:
      node.held = SimulatedKeys.all.map { Holding(of: $0, in: node.table) }
      checkContents(node, status)
    default: break
    }
    node.confirmations.took(event, isTaken: node.tookManifest, status, held: node.held, at: now)
    let replaced = if case .bucket = event { true } else { false }
    if let until = process.admitUntil, until != node.checkedAdmitUntil || replaced {
      node.checkedAdmitUntil = until
      if !rewound || status.completeness.verified == status.completeness.total { checkFreshness(node) }
    }
  }

  private func checkContents(_ node: SimulatedNode, _ status: ReplicaStatus) {
    if [.complete, .guarded].contains(status.completeness.state), status.sealed, let epoch = status.epoch {
      checkStore(node, epoch: epoch)
      // Whole buckets alone aren't the store: their digest may still turn out to be another one than the store's.
      if status.objection == nil, let store = storeOfEpoch[epoch] { node.trusted = store }
    }
    if status.completeness.state == .complete {
      let epoch = status.epoch ?? ""
      if !truth.matches(node.held, epoch: epoch, version: status.version) {
        for snapshot in truth.snapshots where snapshot.version == status.version && snapshot.epoch == epoch {
          for number in node.held.indices where node.held[number] != snapshot.holdings[number] {
            note { "key \(number) is \(node.held[number]), in the store it was \(snapshot.holdings[number])" }
          }
        }
        fail(
          "node \(node.index) says it is complete at version \(status.version) of \(epoch), but isn't what the store was"
        )
      }
    }
    for (number, key) in SimulatedKeys.all.enumerated() {
      let active = node.process?.held(key) != nil
      if active, !node.sawActive[number] { node.becameActive[number] = now }
      if node.sawActive[number], !active, let since = truth.unendedSince[number], since < node.bornAt {
        fail("node \(node.index) lost key \(number), which has been active all the time")
      }
      node.sawActive[number] = active
    }
  }

  /// Whoever is admitted now is admitted until the allowed age after this moment: so it all must have been true then or later.
  private func checkFreshness(_ node: SimulatedNode) {
    if damaged { return }
    // What comes by the feed may be of a history that has ended meanwhile; it is at most as old as the feed's deadline.
    let slack = rewound ? Self.feedWait + Self.shortDeadline + depositionSlack : .zero
    for (number, key) in SimulatedKeys.all.enumerated() {
      guard let holding = node.process?.held(key), let until = holding.until, !isRestored(node, until) else { continue }
      if isHeldBack(node, key) { continue }
      let held = Holding(.active, account: holding.account)
      let knownAt = until + .nanoseconds(-(node.limits.admitAge + slack).wholeNanoseconds)
      if !truth.was(number, held, since: knownAt) {
        fail(
          "node \(node.index) counts as fresh of \((knownAt - start).fractionalSeconds) s, "
            + "but key \(number) was \(held) for the last time before")
      }
    }
  }
}
