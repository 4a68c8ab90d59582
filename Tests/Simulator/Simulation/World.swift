// Everything that happens to the store: publishers, requests, operators, and every fault except the network's.

import KeyReplica
import SimulatedStore

extension Simulation {
  var server: SimulatedServer { servers[address] }

  func emptyDataset() -> SimulatedServer.Dataset {
    SimulatedServer.Dataset(
      store: SimulatedStore(bucketCount: bucketCount, changesKept: 40),
      holdings: Array(repeating: .none, count: SimulatedKeys.all.count))
  }

  /// The next thing of all that comes by itself.
  func world() {
    guard busy else { return }
    let pause = random.chance(40) ? random.within(100...1500) : random.within(1...50)
    agenda.add(.world, at: now + .milliseconds(pause))
    let spontaneous = faulty ? mix.spontaneous : []
    // Operators set right what they notice, sooner or later.
    let mending = faulty && !mix.isCalm ? 12 : 0
    let saving = 8
    var draw = random.below(
      askWeight + 5 + editWeight + mending + saving + spontaneous.reduce(0) { $0 + $1.weight })
    func drawn(_ weight: Int) -> Bool {
      draw -= weight
      return draw < 0
    }
    if drawn(askWeight) { return ask(random.pick(nodes), someKey()) }
    if drawn(5) {
      let node = random.pick(nodes)
      for _ in 0..<10 { ask(node, someKey()) }
      return
    }
    if drawn(editWeight) { return callPublisher() }
    if drawn(saving) { return saveImage(random.pick(nodes)) }
    if drawn(mending) { return mendPerhaps() }
    for (kind, weight) in spontaneous where drawn(weight) { return befall(kind) }
  }

  private func someKey() -> KeyID { random.chance(50) ? SimulatedKeys.stranger : random.pick(SimulatedKeys.all) }

  // MARK: Publishers

  private func callPublisher() {
    if random.chance(100) { return purge() }
    if source != nil, let flaw = someListFlaw(oneIn: 10) { return beginList(flaw) }
    if source != nil, !occurs(.otherPublisher) { return commitToSource() }
    var edits = (0..<random.within(1...3)).map { _ in someEdit() }
    // The other publisher ends what the follower has just brought.
    if let latest = source?.latest, random.chance(500) {
      edits.append(StoreEdit(key: SimulatedKeys.all[latest], kind: .setState(.revoked)))
    }
    calls.append(edits)
    agenda.add(.publish(number: calls.count - 1), at: now + .microseconds(random.within(100...20_000)))
    if occurs(.duplicateCall) {
      agenda.add(.publish(number: calls.count - 1), at: now + .microseconds(random.within(100...400_000)))
    }
  }

  func endSoon(_ number: Int) {
    calls.append([StoreEdit(key: SimulatedKeys.all[number], kind: .setState(.revoked))])
    // Often before any node has read what came before.
    let pause = random.chance(500) ? random.within(1...100) : random.within(100...5_000)
    agenda.add(.publish(number: calls.count - 1), at: now + .microseconds(pause))
  }

  /// Keys that are revoked lose their records, some of them at the very moment.
  private func purge() {
    let server = server
    if server.isDown || server.isDemoted || server.stalledUntil.map({ $0 > now }) ?? false { return }
    let keys = (0..<random.within(1...8)).map { _ in random.pick(SimulatedKeys.all) }
    let moment = seconds + (random.chance(500) ? 1 : 0)
    change { store throws(StoreRefusal) in
      let outcome = try store.purge(keys, revokedBefore: moment)
      self.note { "a publisher purges \(outcome.changed) keys; the store is at version \(outcome.version)" }
    }
  }

  private func someEdit() -> StoreEdit {
    let key = random.pick(SimulatedKeys.all)
    // Mostly without a word against it, or nothing would ever change; and with revisions that come out of order.
    let allowing =
      random.chance(700) ? StoreEdit.Permissions.everything : StoreEdit.Permissions(rawValue: UInt8(random.below(8)))
    let revision = random.chance(200) ? UInt64(random.below(100)) : nil
    if random.chance(400) {
      return StoreEdit(
        key: key, kind: .setState(random.pick(KeyState.allCases)), allowing: allowing, revision: revision)
    }
    let state = random.chance(700) ? KeyState.active : random.chance(300) ? nil : random.pick(KeyState.allCases)
    return StoreEdit(
      key: key, kind: .put(account: Holding.accounts[random.below(4)], state), allowing: allowing, revision: revision,
      expiry: someExpiry())
  }

  /// Mostly none; otherwise around now, by Redis's clock.
  private func someExpiry() -> StoreEdit.Expiry {
    if random.chance(800) { return random.chance(800) ? .keep : .remove }
    return .set(someEndAroundNow())
  }

  func someEndAroundNow() -> Int64 { Int64(clock(of: server) / 1_000_000) - 3 + Int64(random.below(12)) }

  func publish(_ number: Int) { publish(calls[number]) }

  func publish(_ edits: [StoreEdit]) {
    let server = server
    if server.isDown || server.isDemoted || server.stalledUntil.map({ $0 > now }) ?? false { return }
    let onlyEnds = edits.allSatisfy {
      switch $0.kind {
      case .put: false
      case .setState(let state): state != .active
      }
    }
    if server.isFull, !onlyEnds { return }
    let basis = random.chance(100) ? UInt64(random.below(400)) : nil
    // Between its beginning and its first change a store can be seen, and another publisher may come first.
    if !onlyEnds, server.dataset.store.meta == nil, random.chance(500) {
      beginStore()
      calls.append(edits)
      agenda.add(.publish(number: calls.count - 1), at: now + .microseconds(random.within(100...400_000)))
      return
    }
    change { store throws(StoreRefusal) in
      let outcome = try store.publish(edits, basedOn: basis, now: self.seconds, newEpoch: self.newEpoch())
      self.note { "a publisher changes \(outcome.changed) keys; the store is at version \(outcome.version)" }
    }
  }

  var seconds: Int64 { 1_763_683_200 + (now - start).components.seconds }

  func newEpoch() -> String {
    epochs += 1
    return "epoch \(epochs)"
  }

  /// Changes the store through its scripts, and notes each version as what was true.
  /// - Parameter bySource: Whether a follower does this.
  func change(bySource: Bool = false, _ body: (inout SimulatedStore) throws(StoreRefusal) -> Void) {
    if random.chance(300) { server.remember() }
    let before = server.dataset.store.meta?.version ?? 0
    do throws(StoreRefusal) {
      try body(&server.dataset.store)
    } catch {
      note { "the store refuses the publisher: \(error)" }
    }
    if let meta = server.dataset.store.meta { storeOfEpoch[meta.epoch] = meta.store }
    noteBound()
    guard let meta = server.dataset.store.meta, meta.version > before else { return }
    var sealed = truth.current?.sealed ?? false
    for change in server.dataset.store.changes(after: before) {
      server.dataset.note(change)
      switch change.effect {
      case .put(let key, _, _, _), .purge(let key, _, _):
        if !bySource { changedByOthersAt[SimulatedKeys.numbers[key]!] = now }
      case .seal: sealed = true
      case .confirm, .undecodable: break
      }
      truth.becomes(
        epoch: meta.epoch, version: change.version, sealed: sealed, holdings: server.dataset.holdings,
        passing: change.version < meta.version, at: now)
    }
    wakeFeeds(at: address)
  }

  /// The store at the address is another one, or is the same with another past, or is gone.
  private func noteTruth() {
    noteBound()
    if let meta = server.dataset.store.meta { storeOfEpoch[meta.epoch] = meta.store }
    guard let meta = server.dataset.store.meta, KeyRecord.schemas.contains(meta.schema), meta.rebuildingTo == nil else {
      truth.vanishes(at: now)
      // A mirror that has read the manifest before may still read its buckets.
      for (number, holding) in server.dataset.holdings.enumerated() { truth.had(number, as: holding, at: now) }
      return
    }
    truth.becomes(
      epoch: meta.epoch, version: meta.version, sealed: meta.sealed, holdings: server.dataset.holdings, at: now)
    for change in server.dataset.store.changes(after: 0) {
      switch change.effect {
      case .put(let key, let record, _, _):
        truth.had(SimulatedKeys.numbers[key]!, as: Holding(record: record), at: now)
      case .purge(let key, _, _): truth.had(SimulatedKeys.numbers[key]!, as: .none, at: now)
      case .seal, .confirm, .undecodable: break
      }
    }
    wakeFeeds(at: address)
  }

  /// A store from nothing, with some of the keys.
  func populate(sealed: Bool) {
    flush()
    note { "the store is populated, \(sealed ? "and sealed" : "but not sealed")" }
    if let source { return importing(Self.edits(to: source.rows), sealed: sealed, at: seconds) }
    let edits = SimulatedKeys.all.filter { _ in random.chance(600) }.map { key in
      StoreEdit(
        key: key,
        kind: .put(
          account: Holding.accounts[random.below(4)], random.chance(800) ? .active : random.pick(KeyState.allCases)))
    }
    importing(edits, sealed: sealed, at: seconds)
  }

  static func edits(to holdings: Holdings) -> [StoreEdit] {
    zip(SimulatedKeys.all, holdings).compactMap { key, holding in
      holding.state.map {
        StoreEdit(
          key: key, kind: .put(account: holding.account ?? "", $0),
          expiry: holding.expiresAt.map { .set($0) } ?? .keep)
      }
    }
  }

  private func importing(_ edits: [StoreEdit], sealed: Bool, at since: Int64) {
    beginStore()
    var rest = edits[...]
    while !rest.isEmpty {
      let batch = Array(rest.prefix(16))
      rest = rest.dropFirst(16)
      change { store throws(StoreRefusal) in _ = try store.apply(batch, now: since) }
    }
    if sealed { seal() }
  }

  /// Begins a store where there is none.
  private func beginStore() {
    do throws(StoreRefusal) {
      guard try server.dataset.store.create(epoch: newEpoch()) else { return }
    } catch {
      note { "the store refuses to begin: \(error)" }
      return
    }
    note { "a store begins" }
    noteTruth()
  }

  private func seal() {
    change { store throws(StoreRefusal) in _ = try store.seal(mayBeEmpty: true) }
  }

  private func flush() {
    server.dataset = emptyDataset()
    noteBound()
    rewound = true
    truth.vanishes(at: now)
  }

  // MARK: Operators

  private func mendPerhaps() {
    if random.chance(500) { adoptStores() }
    if random.chance(500) { moveOutbox() }
    if random.chance(500) { confirmRemovals() }
    // Once the address is right again, the source is what the store should be.
    if comparisonsStopped > 0, !isAnyoneMisdirected, random.chance(300) { maxRevoked = 100 }
    if random.chance(200), let unknown = mostUnknown { confirm(unknownKeys: random.below(unknown + 1)) }
    if server.dataset.store.meta?.rebuildingTo != nil {
      // The operator's shell was gone.
      if rebuilding[address] == nil { beginRebuild() }
    } else if truth.current == nil {
      populate(sealed: !occurs(.unsealedStore))
    } else if truth.current?.sealed == false {
      seal()
    } else if random.chance(500) {
      mendRecords()
    }
  }

  /// If nodes hold back removals, an operator confirms them.
  func confirmRemovals() {
    guard nodes.contains(where: { $0.process.map { $0.status(at: now).quarantined > 0 } ?? false }) else {
      return
    }
    note { "an operator confirms the removals" }
    change { store throws(StoreRefusal) in try store.confirmRemovals() }
    // Backups from now on have the confirmation. What is lost by restoring one of them isn't confirmed.
    if random.chance(500) { server.remember() }
  }

  /// If nodes find a store other than theirs, an operator declares that it replaces theirs.
  func adoptStores() {
    for node in nodes {
      guard let status = node.process?.status(at: now), status.wrongStore != nil, let theirs = status.store,
        let ours = server.dataset.store.meta?.store, ours != theirs.id
      else { continue }
      note { "an operator says that the store \(theirs.id) was replaced by \(ours)" }
      do throws(StoreRefusal) {
        try server.dataset.store.adopt(theirs.id)
        adoptions[ours, default: []].insert(theirs.id)
      } catch {
        note { "the store refuses to adopt: \(error)" }
      }
    }
  }

  /// The largest number of unknown keys that a node with a refusal storm has counted; nil if there is no storm.
  private var mostUnknown: Int? {
    nodes.compactMap { $0.process?.status(at: now).recentKeys }.filter(\.isStorm).map(\.unknown).max()
  }

  /// An operator confirms that this number of keys is rightly unknown.
  func confirm(unknownKeys number: Int) {
    note { "an operator confirms \(number) unknown keys" }
    do throws(StoreRefusal) {
      try server.dataset.store.confirm(unknownKeys: number)
      confirmedUnknown = max(confirmedUnknown, number)
    } catch {
      note { "the store refuses the operator: \(error)" }
    }
  }

  /// Everything is as it should be, as far as an operator can see to it.
  func mend() {
    for (index, server) in servers.enumerated() { server.recover(asPrimary: index == address) }
    mendFollowing()
    executeWaiting()
    if server.dataset.store.meta.map({ !KeyRecord.schemas.contains($0.schema) }) ?? false {
      server.dataset.store.setSchema(KeyRecord.schemaWithExpiry)
    }
    if let meta = server.dataset.store.meta, truth.isAbsent || truth.current?.epoch != meta.epoch { noteTruth() }
    if server.dataset.store.meta?.rebuildingTo != nil { rebuildAtOnce() }
    mendRecords()
    if truth.current == nil { populate(sealed: true) }
    if truth.current?.sealed == false { seal() }
    for node in nodes where node.process == nil { begin(node) }
  }

  /// Where the records and what is said of them don't fit together: rebuilds the store from what is readable, or imports what
  /// it should have.
  private func mendRecords() {
    guard damaged, let current = truth.current else { return }
    note { "an operator mends the store" }
    if random.chance(500) {
      if faulty { beginRebuild() } else { rebuildAtOnce() }
    } else {
      importAgain(current.holdings)
    }
  }

  private func rebuildAtOnce() {
    rebuilding[address] = nil
    server.dataset.store.beginRebuild()
    for index in 0..<bucketCount { rebuildBucket(index) }
    finishRebuild()
  }

  /// Bucket by bucket, with everything else going on.
  private func beginRebuild() {
    note { "the store is being rebuilt" }
    server.dataset.store.beginRebuild()
    noteTruth()
    rebuilding[address] = 0
    agenda.add(.rebuild(server: address, bucket: 0), at: now + .microseconds(random.within(100...50_000)))
  }

  func rebuild(_ server: Int, bucket index: Int) {
    // It was flushed meanwhile, another store is there, somebody else is at it, or this one is killed.
    guard rebuilding[server] == index else { return }
    guard server == address, self.server.dataset.store.meta?.rebuildingTo != nil, !random.chance(50) else {
      rebuilding[server] = nil
      return
    }
    if index < bucketCount {
      rebuildBucket(index)
      rebuilding[server] = index + 1
      agenda.add(.rebuild(server: server, bucket: index + 1), at: now + .microseconds(random.within(100...50_000)))
    } else {
      rebuilding[server] = nil
      finishRebuild()
    }
  }

  private func finishRebuild() {
    do throws(StoreRefusal) {
      try server.dataset.store.finishRebuild(newEpoch: newEpoch())
    } catch {
      note { "the store can't be opened again: \(error)" }
      return
    }
    note { "the store has been rebuilt" }
    noteTruth()
  }

  /// What is in it at this moment is the truth; an edit that comes later is damage again.
  private func rebuildBucket(_ index: Int) {
    server.dataset.store.rebuild(bucket: index)
    server.dataset.store.read(bucket: index, into: &server.dataset.holdings)
  }

  private func importAgain(_ holdings: Holdings) {
    flush()
    // The same records at the same time: nothing but the epoch tells two such imports apart.
    importing(Self.edits(to: holdings), sealed: true, at: 1_763_683_200)
  }

  // MARK: Faults

  private func befall(_ kind: FaultKind) {
    if kind.isOfSource, source == nil { return }
    count(kind)
    note { "fault: \(kind.rawValue)" }
    let node = random.pick(nodes)
    switch kind {
    case .cutConnection: drop(node, "connection reset")
    case .halfOpen:
      node.link?.control.isLost = true
      node.link?.feed.isLost = true
    case .crash: crash(node, gracefully: false)
    case .shutdown: crash(node, gracefully: true)
    case .wallClockJump: node.wallOffset += .milliseconds(random.within(-5000...5000))
    case .slowStore, .stalledStore, .downStore, .errorReplies, .demotedStore, .fullStore, .lostReplicas: worsen(kind)
    case .undeclaredReplicas:
      server.declared = nil
      agenda.add(.calmDown(server: address, kind), at: now + .milliseconds(random.within(10...900)))
    case .storeClockJump:
      // What marks prove depends on Redis's clock, too: how far it may be wrong is bounded in runs with a source.
      guard source == nil else { return }
      server.clockOffset += .milliseconds(random.within(-5000...5000))
      clockChangedAt = now
    case .trimmedStream: server.dataset.store.trim(to: random.below(4))
    case .failover, .deposedPrimary: failOver(deposing: kind == .deposedPrimary)
    case .flush: flush()
    case .restoredSnapshot: _ = restoreSnapshot()
    case .sameImportAgain: if let current = truth.current { importAgain(current.holdings) }
    case .otherStore: switchStores()
    case .handEdit: editByHand()
    case .recomputedEdit: editAndRecompute()
    case .undecodableRecord:
      damaged = true
      let record = Array("2 active since yesterday".utf8)
      let key = random.pick(SimulatedKeys.all)
      change { store throws(StoreRefusal) in try store.applyForeignRecord(record, of: key) }
    case .otherSchema:
      server.dataset.store.setSchema(3)
      noteTruth()
      agenda.add(.calmDown(server: address, kind), at: now + .milliseconds(random.within(10...600)))
    case .strangers: for key in SimulatedKeys.strangers.prefix(random.within(1...16)) { ask(node, key) }
    case .deadFollower: if let follower = followers.randomElement(using: &random) { kill(follower) }
    case .sourceAway: source?.awayUntil = now + .milliseconds(random.within(20...4_000))
    case .misdirectedFollower: misdirectFollowers()
    case .lostMessage, .refusedConnection, .duplicateEvent, .lateReply, .tornStateFile, .foreignStateFile,
      .unsealedStore, .deniedCommands, .duplicateCall, .pausedFollower, .lateCommit, .otherPublisher,
      .restoredUnderFollower, .truncatedList, .staleList:
      break
    }
  }

  private func worsen(_ kind: FaultKind) {
    let lasting = Duration.milliseconds(random.chance(200) ? random.within(1000...5000) : random.within(5...900))
    switch kind {
    case .slowStore: server.slowness = random.within(3...20)
    case .stalledStore: server.stalledUntil = now + lasting
    case .downStore:
      server.isDown = true
      dropAll(on: address, silently: random.chance(300), "connection reset")
    case .errorReplies: server.failing = random.pick([100, 300, 700, 1000])
    case .demotedStore: server.isDemoted = true
    case .lostReplicas: server.replicasAreAway = true
    default: server.isFull = true
    }
    agenda.add(.calmDown(server: address, kind), at: now + lasting)
  }

  func calmDown(_ server: SimulatedServer, _ kind: FaultKind) {
    note { "\(kind.rawValue) is over" }
    switch kind {
    case .slowStore: server.slowness = 1
    case .stalledStore: server.stalledUntil = nil
    case .downStore: server.isDown = false
    case .errorReplies: server.failing = 0
    // One that another has replaced meanwhile doesn't become a primary again.
    case .demotedStore: server.isDemoted = server.isDeposed
    case .fullStore: server.isFull = false
    case .lostReplicas: server.replicasAreAway = false
    case .undeclaredReplicas:
      // Or the replica is promoted before anybody has declared it.
      if server === self.server, faulty, mix[.deposedPrimary] > 0, random.chance(600) {
        failOver(deposing: true)
        agenda.add(.calmDown(server: address, kind), at: now + .milliseconds(random.within(100...3000)))
      } else {
        server.declared = server.replicas
      }
    case .deposedPrimary: server.isDemoted = server.isDemoted || server.isDeposed
    case .misdirectedFollower: redirectFollowers()
    default:
      guard let meta = server.dataset.store.meta, !KeyRecord.schemas.contains(meta.schema) else { return }
      server.dataset.store.setSchema(KeyRecord.schemaWithExpiry)
      if server === self.server { noteTruth() }
    }
  }

  /// A replica of the store becomes the primary, often one that lagged: what it hasn't got has never happened, and its versions will be
  /// used again. The old primary falls silent, or, deposed, goes on answering those who are connected to it.
  private func failOver(deposing: Bool) {
    rewound = true
    let old = address
    let dataset = random.chance(800) ? server.earlier.randomElement(using: &random) ?? server.dataset : server.dataset
    let deposed = servers[old]
    servers.append(
      SimulatedServer(
        dataset, replicas: deposed.replicas, declared: deposed.declared, recorded: deposed.recorded, hasFollowed: true,
        clockError: someClockError()))
    address = servers.count - 1
    clockChangedAt = now
    if mix[.storeClockJump] > 0, source == nil {
      server.clockOffset = deposed.clockOffset + .milliseconds(random.within(-500...500))
    }
    server.denied = deposed.denied
    // Its one replica is the old primary, which comes back and follows it later.
    server.replicasAreAway = true
    let lasting = Duration.milliseconds(random.within(100...Self.longestDeposition))
    agenda.add(.calmDown(server: address, .lostReplicas), at: now + lasting)
    // A store without replicas has nobody to depose it. And one whose replica nobody has seen is out of our reach: then the publisher doesn't
    // confirm what is put at the promoted one, which this publisher isn't told.
    if deposing, deposed.replicas > 0, deposed.declared != nil || isReplicaSeen(at: old) {
      deposed.isDeposed = true
      agenda.add(.calmDown(server: old, .deposedPrimary), at: now + lasting)
    } else {
      servers[old].isDown = true
      dropAll(on: old, silently: random.chance(400), "connection reset")
    }
    noteTruth()
  }

  /// In runs that have this, half of the servers deny nodes some of the commands that they ask with.
  func denyCommands(at server: SimulatedServer) {
    guard mix[.deniedCommands] > 0, random.chance(500) else { return }
    count(.deniedCommands)
    server.denied = Set(DeniedCommand.allCases.filter { _ in random.chance(600) })
  }

  /// Whether every node that is connected to a server knows that it has a replica, or that this can't be told.
  private func isReplicaSeen(at server: Int) -> Bool {
    servers[server].recorded > 0 || servers[server].hidesReplicas
      || nodes.allSatisfy { $0.link.map { $0.server != server || $0.sawReplica } ?? true }
  }

  /// An old file is loaded. Redis keeps its connections when it takes over a data set from another, and loses them when it starts anew.
  /// - Returns: Whether it lost its connections.
  func restoreSnapshot() -> Bool {
    guard let dataset = server.earlier.randomElement(using: &random) else { return false }
    server.dataset = dataset
    rewound = true
    noteTruth()
    guard random.chance(500) else { return false }
    dropAll(on: address, silently: false, "connection reset")
    return true
  }

  /// The address leads to another store altogether, with keys and a history of its own; or back again.
  private func switchStores() {
    let old = address
    clockChangedAt = now
    if servers.count > 1, random.chance(500) {
      address = random.below(servers.count)
      if address == old { return }
      servers[address].recover(asPrimary: true)
      newestMark = max(newestMark, server.markedAt)
      noteTruth()
    } else {
      servers.append(
        SimulatedServer(
          emptyDataset(), replicas: server.replicas, declared: server.replicas, clockError: someClockError()))
      address = servers.count - 1
      denyCommands(at: server)
      truth.vanishes(at: now)
      populate(sealed: !occurs(.unsealedStore))
    }
    servers[old].isDown = true
    dropAll(on: old, silently: random.chance(300), "connection reset")
  }

  private func editByHand() {
    damaged = true
    let key = random.pick(SimulatedKeys.all)
    let bucket = key.bucket(of: bucketCount)
    switch random.below(8) {
    case 0: server.dataset.store.deleteBucket(bucket)
    case 1: server.dataset.store.removeField(of: key)
    case 2: server.dataset.store.setField(of: key, to: Array("1 a 1763683200 an intruder".utf8))
    case 3: server.dataset.store.setField(of: key, to: Array("1 r 1763683200 acme".utf8))
    case 4: server.dataset.store.setField(of: key, to: Array("active".utf8))
    case 5:
      server.dataset.store.addForeignField(toBucket: bucket, name: Array("note".utf8), value: Array("hello".utf8))
    case 6: server.dataset.store.setSummary(ofBucket: bucket, to: Array("many".utf8))
    default:
      if let meta = server.dataset.store.meta {
        let version = meta.version + 1000
        server.dataset.store.setSummary(ofBucket: bucket, to: Array("0 \(Digest.empty.hex) \(version)".utf8))
      }
    }
  }

  /// Removes a record, with everything else set right: from then on the store is without that key.
  private func editAndRecompute() {
    guard server.dataset.store.meta != nil else { return }
    let key = random.pick(SimulatedKeys.all)
    let bucket = key.bucket(of: bucketCount)
    server.dataset.store.removeField(of: key)
    damaged = true
    guard server.dataset.store.recompute(bucket: bucket) else { return }
    server.dataset.store.read(bucket: bucket, into: &server.dataset.holdings)
    noteTruth()
  }
}
