// The state machine's states one by one. Random orders of events are tested by the simulator.

import Testing

@testable import KeyReplica

@Suite struct ReplicaTests {
  private typealias Bench = ReplicaBench

  // MARK: What its driver says twice

  @Test func `a bucket that comes twice isn't taken for another that is still on its way`() throws {
    var bench = Bench()
    bench.give(.timePassed)
    try bench.answer(Bench.isConnect)
    try bench.answer(Bench.isManifest)
    let reply = bench.reply(to: try bench.take(Bench.isBucket))
    bench.give(reply)
    bench.give(reply)
    #expect(bench.status.completeness.state == .loading)
    #expect(!bench.unanswered.contains(where: Bench.isFeed), "it follows with a bucket on its way")
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.objection == nil)
  }

  @Test func `a conversation that is said to begin twice goes on`() throws {
    var bench = Bench()
    bench.give(.timePassed)
    let begun = bench.reply(to: try bench.take(Bench.isConnect))
    bench.give(begun)
    bench.give(begun)
    try bench.settle()
    bench.give(begun)
    #expect(bench.status.completeness.state == .complete && bench.unanswered.contains(where: Bench.isFeed))
  }

  @Test func `a bucket that changed and couldn't be read gets no younger, the others do`() throws {
    var bench = try Bench.synced()
    let known = try #require(bench.replica.admitUntil)
    bench.give(.disconnected(1, reason: "cut"))
    bench.put(0, .revoked)
    bench.store.trim(to: 0)
    bench.pass(.seconds(1))
    try bench.answer(Bench.isConnect)
    try bench.answer(Bench.isManifest)
    guard case .readBucket(let session, let index) = try bench.take(Bench.isBucket) else { return }
    bench.give(.bucket(session, index, .failure(Replica.ReadFailure("LOADING"))))
    #expect(bench.table.admitUntil(bench.keys[0]) == known, "the revoked key would be admitted longer than allowed")
    #expect(try #require(bench.replica.admitUntil) > known)
    let other = try #require(bench.keys.first { $0.bucket(of: 2) != index })
    #expect(bench.table.admitUntil(other) == nil)
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.table.admitUntil(bench.keys[0]) == nil)
    #expect(bench.status.completeness.state == .complete)
  }

  // MARK: Before it is complete

  @Test func `before anything was read nobody is refused, and it isn't zero seconds old`() throws {
    var bench = Bench()
    bench.ask(1, 7)
    #expect(undecided(bench.answers[1]) == "store_away")
    #expect(bench.status.completeness.state == .empty)
    #expect(bench.status.age == nil && bench.replica.admitUntil == nil)
    #expect(bench.replica.nextWake == bench.now)
  }

  @Test func `while it loads, keys that were read are admitted and nobody is refused`() throws {
    var bench = Bench { $0.bucketsInFlight = 1 }
    bench.give(.timePassed)
    try bench.answer(Bench.isConnect)
    try bench.answer(Bench.isManifest)
    bench.ask(1, 7)
    #expect(undecided(bench.answers[1]) == "loading")
    try bench.answer(Bench.isBucket)
    let read = try #require(bench.keys.firstIndex { bench.table.find($0) != nil })
    bench.ask(2, read)
    #expect(bench.answers[2] == .admit(account: "acme"))
    #expect(bench.status.completeness.state == .loading && bench.status.completeness.verified == 1)
  }

  @Test func `a Redis without a store is asked again and refuses nobody`() throws {
    var bench = Bench(populated: false)
    bench.give(.timePassed)
    for number in 1...20 as ClosedRange<UInt64> {
      try bench.settle()
      bench.ask(number, 0)
      #expect(undecided(bench.answers[number]) == "no_store")
      let wake = try #require(bench.replica.nextWake)
      #expect(wake > bench.now && wake <= bench.now + .seconds(2))
      bench.pass(wake - bench.now)
    }
    #expect(bench.status.completeness.state == .empty)
    bench.populate()
    try bench.settle()
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.objection == nil)
    #expect(bench.notes.filter { if case .trouble = $0 { true } else { false } }.count == 1)
  }

  @Test func `a store that isn't sealed refuses nobody, and sealing it is noticed`() throws {
    var bench = Bench(populated: false)
    bench.populate(sealed: false)
    bench.give(.timePassed)
    try bench.settle()
    bench.ask(1, 7)
    #expect(undecided(bench.answers[1]) == "unsealed")
    bench.store.seal(at: bench.now)
    try bench.answer(Bench.isFeed)
    bench.ask(2, 7)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[2])?.reason == .unknownKey)
  }

  @Test func `a store that another hand unsealed refuses nobody`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    guard case .readPosition(let session, let read, _) = try bench.take(Bench.isPosition),
      case .found(var position) = bench.store.position()
    else { return }
    position.sealed = false
    bench.give(.position(session, read: read, .single, .success(.found(position))))
    #expect(undecided(bench.answers[1]) == "diverged")
  }

  // MARK: The barrier

  @Test func `a refusal cites a read that was sent after the question`() throws {
    var bench = try Bench.synced()
    bench.put(0, .revoked)
    bench.put(1, .suspended)
    try bench.answer(Bench.isFeed)
    bench.now = bench.now + .milliseconds(7)
    for (number, key) in [0, 1, 7].enumerated() { bench.ask(UInt64(number), key) }
    let asked = bench.now
    bench.now = bench.now + .milliseconds(3)
    try bench.settle()
    #expect(refusal(bench.answers[0])?.reason == .revokedKey)
    let (_, proof) = try #require(refusal(bench.answers[0]))
    #expect(proof.asOf == asked && proof.epoch == "epoch 1" && proof.version == 9)
    // The others had to wait for the next read.
    #expect(refusal(bench.answers[1])?.reason == .suspendedKey)
    #expect(refusal(bench.answers[2])?.reason == .unknownKey)
    #expect(refusal(bench.answers[2])?.proof.asOf == bench.now)
  }

  @Test func `a key that was put before the question is never refused, however late its change comes`() throws {
    var bench = try Bench.synced()
    bench.put(7)
    bench.ask(1, 7)
    try bench.answer(Bench.isPosition)
    // The position says that there is more than the mirror has.
    #expect(bench.answers.isEmpty)
    #expect(bench.status.storeVersion == 8 && bench.status.version == 7)
    try bench.answer(Bench.isFeed)
    #expect(bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `an answer that doesn't come is a timeout at the bound, and later answers are harmless`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    #expect(bench.replica.nextWake == bench.now + .seconds(2))
    bench.pass(.milliseconds(1999))
    #expect(bench.answers.isEmpty)
    bench.pass(.milliseconds(1))
    #expect(undecided(bench.answers[1]) == "barrier_timed_out")
    try bench.settle()
    #expect(bench.status.barrierWaiting == 0)
  }

  @Test func `a stream that doesn't bring what the position promised is noticed`() throws {
    var bench = try Bench.synced()
    bench.put(7)
    bench.store.trim(to: 0)
    bench.ask(1, 7)
    try bench.answer(Bench.isPosition)
    // This one may have been answered before the change; the next one can't.
    bench.now = bench.now + .milliseconds(1)
    try bench.answer(Bench.isFeed)
    #expect(bench.answers.isEmpty)
    bench.now = bench.now + .seconds(1)
    try bench.answer(Bench.isFeed)
    #expect(undecided(bench.answers[1]) == "diverged")
    try bench.settle()
    #expect(bench.status.objection == nil && bench.table.find(bench.keys[7]) != nil)
  }

  @Test func `reads for proofs have a pause between them, whoever asks`() throws {
    var bench = try Bench.synced { $0.barrierInterval = .milliseconds(2) }
    bench.pass(.milliseconds(2))
    bench.ask(1, 7)
    let first = bench.now
    bench.now = bench.now + .microseconds(300)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[1])?.proof.asOf == first)
    bench.ask(2, 7)
    #expect(bench.unanswered.allSatisfy { !Bench.isPosition($0) })
    #expect(bench.replica.nextWake == first + .milliseconds(2))
    bench.pass(.microseconds(1_699))
    #expect(bench.unanswered.allSatisfy { !Bench.isPosition($0) })
    bench.pass(.microseconds(1))
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[2])?.proof.asOf == first + .milliseconds(2))
  }

  @Test func `only so many may wait`() throws {
    var bench = try Bench.synced { $0.barrierQueue = 2 }
    for number in 1...3 as ClosedRange<UInt64> { bench.ask(number, 7) }
    #expect(undecided(bench.answers[3]) == "too_many_waiting")
    try bench.settle()
    #expect(bench.answers.count == 3)
    bench.ask(4, 7)
    #expect(bench.answers[4] == nil)
  }

  @Test func `an error of the store is an error, not a reason to refuse`() throws {
    var bench = try Bench.synced()
    for number in 1...3 as ClosedRange<UInt64> {
      bench.ask(number, 7)
      guard case .readPosition(let session, let read, _) = try bench.take(Bench.isPosition) else { return }
      bench.give(.position(session, read: read, .single, .failure(.init("LOADING"))))
      #expect(undecided(bench.answers[number]) == "barrier_failed")
    }
    #expect(bench.notes.filter { $0 == .readFailed("LOADING") }.count == 1)
  }

  @Test func `a late answer to a read that was given up isn't the next one's`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    let early = bench.reply(to: try bench.take(Bench.isPosition))
    // A feed that can't be read, twice: the second time the comparison is put off, and the session goes on.
    for _ in 0..<2 {
      guard case .readChanges(let session, _) = try bench.take(Bench.isFeed) else { return }
      bench.give(.changes(session, .failure(.init("WRONGTYPE"))))
      while bench.unanswered.contains(where: Bench.isManifest) || bench.unanswered.contains(where: Bench.isBucket) {
        try bench.answer { !Bench.isFeed($0) }
      }
    }
    bench.pass(.milliseconds(600))
    try bench.settle()
    bench.put(7)
    try bench.answer(Bench.isFeed)
    bench.put(7, .revoked)
    bench.put(7)
    bench.ask(2, 6)
    // If it counted as the answer, question 2 would be refused by a read from before its request.
    bench.give(early)
    #expect(bench.answers[2] == nil)
    try bench.answer(Bench.isPosition)
    try bench.answer(Bench.isFeed)
    #expect(refusal(bench.answers[2])?.proof.version == 10)
  }

  @Test func `a mirror that is past what a read said reads again, since what it followed may have been lost`() throws {
    var bench = try Bench.synced()
    bench.put(0, .revoked)
    let revoked = bench.reply(to: try bench.take(Bench.isFeed))
    // The revocation never happened: the store went back before the question, and the key is active all the while.
    bench.store.rewind(by: 1, at: bench.now)
    bench.give(.asked(Question(number: 1, key: bench.keys[7])))
    bench.give(revoked)
    bench.ask(2, 0)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "diverged")
    #expect(undecided(bench.answers[2]) == "diverged")
    bench.ask(3, 0)
    #expect(bench.answers[3] == .admit(account: "acme"))
  }

  @Test func `a read that was overtaken by changes is made again`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    let overtaken = bench.reply(to: try bench.take(Bench.isPosition))
    bench.put(0, .revoked)
    try bench.answer(Bench.isFeed)
    bench.now = bench.now + .milliseconds(1)
    bench.give(overtaken)
    #expect(bench.answers[1] == nil)
    let sent = bench.now
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[1])?.proof == Proof(epoch: "epoch 1", version: 8, asOf: sent))
  }

  @Test func `what waits for a version isn't refused if that version turns out to be another one`() throws {
    var bench = try Bench.synced()
    bench.put(0, .revoked)
    bench.ask(1, 7)
    guard case .readPosition(let session, let read, _) = try bench.take(Bench.isPosition),
      case .found(var position) = bench.store.position()
    else { return }
    position.digest.low ^= 1
    bench.give(.position(session, read: read, .single, .success(.found(position))))
    try bench.answer(Bench.isFeed)
    #expect(undecided(bench.answers[1]) == "diverged")
  }

  // MARK: Other histories

  @Test func `what waits for a version of one history isn't answered by another`() throws {
    var bench = try Bench.synced()
    bench.put(0, .revoked)
    bench.put(1, .revoked)
    bench.ask(1, 7)
    try bench.answer(Bench.isPosition)
    bench.store.vanish(at: bench.now)
    bench.pass(.milliseconds(500))
    try bench.answer(Bench.isPosition)
    #expect(undecided(bench.answers[1]) == "no_store")
    #expect(bench.status.barrierWaiting == 0)
  }

  @Test func `a store that was made anew while the mirror lagged is followed, not compared for ever`() throws {
    var bench = try Bench.synced()
    for _ in 0..<50 { bench.put(0) }
    bench.pass(.milliseconds(500))
    try bench.answer(Bench.isPosition)
    bench.populate(account: "new")
    bench.pass(.milliseconds(500))
    for _ in 0..<10 {
      try bench.settle()
      bench.now = bench.now + .seconds(1)
      try bench.answer(Bench.isFeed)
      bench.pass(.seconds(1))
    }
    try bench.settle()
    #expect(
      bench.status.epoch == "epoch 2" && bench.status.completeness.state == .complete && bench.status.objection == nil)
    #expect(bench.notes.filter { if case .resync = $0 { true } else { false } }.count == 1)
  }

  @Test func `an equal store of another epoch is another one, which a proof must name`() throws {
    var bench = try Bench.synced()
    bench.populate()
    bench.ask(1, 7)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "diverged")
    bench.ask(2, 7)
    try bench.settle()
    #expect(refusal(bench.answers[2])?.proof.epoch == "epoch 2")
  }

  @Test func `a store that went back behind its seal refuses nobody, although its digests fit`() throws {
    var bench = try Bench.synced()
    // The seal's version is used again, by a confirmation; then a key changes. No digest tells the two histories apart.
    bench.store.rewind(by: 1, at: bench.now)
    bench.store.confirm(at: bench.now)
    bench.put(0, .suspended)
    bench.ask(1, 7)
    try bench.answer(Bench.isPosition)
    try bench.answer(Bench.isFeed)
    #expect(undecided(bench.answers[1]) == "diverged")
    try bench.settle()
    #expect(bench.status.objection == .unsealed)
  }

  @Test func `a store that went back is compared, and refuses nobody until then`() throws {
    var bench = try Bench.synced()
    bench.put(7)
    try bench.answer(Bench.isFeed)
    bench.store.rewind(by: 1, at: bench.now)
    bench.ask(1, 6)
    try bench.answer(Bench.isPosition)
    #expect(undecided(bench.answers[1]) == "diverged")
    try bench.settle()
    #expect(bench.status.version == 7 && bench.table.find(bench.keys[7]) == nil && bench.status.objection == nil)
  }

  @Test func `a vanished store is no reason to refuse or to forget anybody`() throws {
    var bench = try Bench.synced()
    bench.store.vanish(at: bench.now)
    bench.ask(1, 7)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "no_store")
    #expect(bench.status.completeness.state == .diverged)
    bench.ask(2, 0)
    #expect(bench.answers[2] == .admit(account: "acme"))
    // But not for ever.
    bench.pass(.seconds(3601))
    bench.ask(3, 0)
    #expect(undecided(bench.answers[3]) == "stale")
  }

  @Test func `what is left of a former history doesn't get younger`() throws {
    var bench = try Bench.synced { $0.admitAge = .seconds(10) }
    let age = try #require(bench.replica.admitUntil)
    bench.populate(account: "new")
    bench.store.damaged = [0: .undecodableField, 1: .undecodableField]
    for _ in 0..<8 {
      bench.pass(.seconds(1))
      try bench.settle()
    }
    #expect(bench.status.epoch == "epoch 2" && bench.status.completeness.state == .diverged)
    #expect(bench.table.admitUntil(bench.keys[0]) == age)
    bench.ask(1, 0)
    #expect(bench.answers[1] == .admit(account: "acme"))
    bench.pass(.seconds(3))
    bench.ask(2, 0)
    #expect(undecided(bench.answers[2]) == "stale")
    bench.store.damaged = [:]
    bench.pass(.seconds(2))
    try bench.settle()
    bench.ask(3, 0)
    #expect(bench.answers[3] == .admit(account: "new"))
  }

  @Test func `a store of another kind refuses nobody`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    guard case .readPosition(let session, let read, _) = try bench.take(Bench.isPosition) else { return }
    bench.give(.position(session, read: read, .single, .success(.incompatible("schema 2"))))
    #expect(undecided(bench.answers[1]) == "incompatible")
    guard case .readManifest(_, let number) = try bench.take(Bench.isManifest) else { return }
    bench.give(.manifest(session, read: number, .success(.incompatible("schema 2"))))
    #expect(bench.status.completeness.state == .incompatible)
    bench.ask(2, 0)
    #expect(bench.answers[2] == .admit(account: "acme"))
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete)
  }

  // MARK: Age

  @Test func `age counts from when a read was sent, and only once the mirror has reached it`() throws {
    var bench = try Bench.synced()
    #expect(bench.status.age == .zero)
    bench.pass(.milliseconds(500))
    bench.now = bench.now + .milliseconds(80)
    try bench.answer(Bench.isPosition)
    #expect(bench.status.age == .milliseconds(80))
    bench.put(0, .revoked)
    bench.pass(.milliseconds(500))
    try bench.answer(Bench.isPosition)
    #expect(bench.status.age == .milliseconds(580))
    bench.now = bench.now + .milliseconds(5)
    try bench.answer(Bench.isFeed)
    #expect(bench.status.age == .milliseconds(5))
  }

  @Test func `reconnecting makes nothing younger before what differs was read`() throws {
    var bench = try Bench.synced { $0.admitAge = .seconds(10) }
    bench.put(0, .revoked)
    bench.give(.disconnected(1, reason: "cut"))
    bench.unanswered = []
    bench.pass(.seconds(11))
    try bench.answer(Bench.isConnect)
    try bench.answer(Bench.isManifest)
    bench.ask(1, 0)
    #expect(undecided(bench.answers[1]) == "stale")
    try bench.settle()
    bench.ask(2, 1)
    #expect(bench.answers[2] == .admit(account: "acme"))
  }

  // MARK: Losing and finding the store

  @Test func `a lost connection answers who waits and comes back with a backoff`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    bench.give(.disconnected(1, reason: "cut"))
    bench.unanswered = []
    #expect(undecided(bench.answers[1]) == "store_away")
    var waits: [Duration] = []
    for session in 2...9 as ClosedRange<UInt64> {
      let wake = try #require(bench.replica.nextWake)
      waits.append(wake - bench.now)
      bench.pass(wake - bench.now)
      _ = try bench.take(Bench.isConnect)
      bench.give(.disconnected(session, reason: "refused"))
    }
    #expect(waits.first! <= .milliseconds(50) && waits.last! >= .seconds(1) && waits.last! <= .seconds(2))
    #expect(bench.notes.filter { $0 == .storeAway("refused") }.count == 1)
    bench.pass(.seconds(2))
    try bench.settle()
    try bench.answer(Bench.isFeed)
    bench.pass(.milliseconds(500))
    try bench.settle()
    // The store is intact again, so the next loss counts as the first.
    bench.give(.disconnected(10, reason: "cut"))
    #expect(try #require(bench.replica.nextWake) - bench.now <= .milliseconds(50))
  }

  @Test func `what belongs to a former session is dropped`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    let position = bench.reply(to: try bench.take(Bench.isPosition))
    bench.put(7)
    let changes = bench.reply(to: try bench.take(Bench.isFeed))
    bench.give(.disconnected(1, reason: "cut"))
    bench.pass(.seconds(1))
    try bench.answer(Bench.isConnect)
    bench.give(position)
    bench.give(changes)
    bench.give(.disconnected(1, reason: "cut again"))
    bench.give(.bucket(1, 0, .success(RawBucket(summary: nil, fields: []))))
    bench.give(.manifest(1, read: 1, .success(.noStore)))
    #expect(bench.status.version == 7)
    try bench.settle()
    #expect(bench.status.version == 8 && bench.status.objection == nil)
    // A connection that opens after the replica stopped waiting for it is closed.
    #expect(
      bench.replica.handle(.connected(1), now: bench.now).contains {
        if case .disconnect(1) = $0 { true } else { false }
      })
  }

  @Test func `a stream that can't be read is no busy loop, whatever else is asked`() throws {
    var bench = try Bench.synced()
    var manifests = 0
    func settleAndCount() throws {
      while let command = bench.unanswered.first(where: { !Bench.isFeed($0) }) {
        if Bench.isManifest(command) { manifests += 1 }
        try bench.answer { !Bench.isFeed($0) }
      }
    }
    for number in 1...2000 as ClosedRange<UInt64> {
      // The question's read is answered before the feed fails, so for a moment all seems well.
      try settleAndCount()
      bench.ask(number, 7)
      try settleAndCount()
      if bench.unanswered.contains(where: Bench.isFeed),
        case .readChanges(let session, _) = try bench.take(Bench.isFeed)
      {
        bench.give(.changes(session, .failure(.init("WRONGTYPE"))))
      }
      bench.pass(.milliseconds(1))
    }
    #expect(bench.answers.count == 2000)
    #expect(manifests < 15, "\(manifests) manifests in two seconds")
  }

  @Test func `a hole in the stream is closed by reading what differs`() throws {
    var bench = try Bench.synced()
    for _ in 0..<5 { bench.put(7) }
    bench.store.trim(to: 2)
    try bench.answer(Bench.isFeed)
    #expect(bench.status.objection?.code == "loading")
    var buckets = 0
    while let command = bench.unanswered.first(where: { !Bench.isFeed($0) }) {
      if Bench.isBucket(command) { buckets += 1 }
      try bench.answer { !Bench.isFeed($0) }
    }
    #expect(buckets == 1 && bench.status.version == 12 && bench.status.objection == nil)
  }

  @Test func `a total that is wrong refuses nobody until the store is well again`() throws {
    var bench = try Bench.synced()
    bench.store.wrongTotal = true
    bench.ask(1, 7)
    try bench.settle()
    #expect(undecided(bench.answers[1]) == "diverged")
    for number in 2...5 as ClosedRange<UInt64> {
      bench.pass(.seconds(2))
      try bench.settle()
      bench.ask(number, 7)
      try bench.settle()
      #expect(undecided(bench.answers[number]) == "diverged")
    }
    bench.store.wrongTotal = false
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.objection == nil)
  }

  @Test func `a bucket that says it is of the future doesn't keep it loading without a word`() throws {
    var bench = Bench()
    bench.store.damaged[0] = .summaryFromTheFuture
    bench.give(.timePassed)
    try bench.settle()
    bench.pass(.milliseconds(500))
    try bench.settle()
    bench.pass(.seconds(2))
    #expect(
      bench.status.completeness.state == .diverged
        || bench.notes.contains { if case .resync = $0 { true } else { false } })
    bench.store.damaged = [:]
    for _ in 0..<3 {
      try bench.settle()
      bench.pass(.seconds(2))
    }
    try bench.settle()
    #expect(bench.status.objection == nil)
  }

  // MARK: The audit

  @Test(arguments: [ModelStore.Damage.lostBucket, .lostField, .foreignField, .unreadableSummary])
  func `an audit finds a bucket that was edited by hand, and its healing`(damage: ModelStore.Damage) throws {
    var bench = try Bench.synced { $0.auditInterval = .seconds(5) }
    bench.store.damaged[bench.keys[0].bucket(of: 2)] = damage
    bench.pass(.seconds(4))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete)
    bench.pass(.seconds(1))
    try bench.settle()
    #expect(bench.status.completeness.state == .diverged)
    bench.ask(1, 7)
    #expect(undecided(bench.answers[1]) == "diverged")
    bench.ask(2, 0)
    #expect(bench.answers[2] == .admit(account: "acme"))
    bench.store.damaged = [:]
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.objection == nil)
  }

  @Test func `an audit that fails isn't taken for one that found nothing`() throws {
    var bench = try Bench.synced { $0.auditInterval = .seconds(5) }
    bench.pass(.seconds(5))
    guard case .readManifest(let session, let read) = try bench.take(Bench.isManifest) else { return }
    bench.give(.manifest(session, read: read, .failure(.init("unreadable"))))
    bench.ask(1, 7)
    #expect(undecided(bench.answers[1]) != nil)
    try bench.settle()
    #expect(bench.status.objection == nil)
  }

  @Test func `an audit that a comparison overtook doesn't count`() throws {
    var bench = try Bench.synced { $0.auditInterval = .seconds(5) }
    bench.store.damaged[0] = .lostBucket
    bench.pass(.seconds(5))
    let audit = bench.reply(to: try bench.take(Bench.isManifest))
    bench.store.damaged = [:]
    for _ in 0..<3 { bench.put(7) }
    bench.store.trim(to: 0)
    bench.store.put(bench.keys[7], KeyRecord(state: .active, since: 9, account: "acme"), at: bench.now)
    try bench.answer(Bench.isFeed)
    bench.give(audit)
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.objection == nil)
    #expect(bench.notes.filter { if case .resync = $0 { true } else { false } }.count == 1)
  }

  // MARK: Reading again

  @Test(arguments: [ModelStore.Damage.editedField, .undecodableField, .foreignField])
  func `an edit that no summary shows is found by reading again, and its healing too`(
    damage: ModelStore.Damage
  ) throws {
    var bench = try Bench.synced { $0.rereadInterval = .milliseconds(100) }
    bench.store.damaged[bench.keys[0].bucket(of: 2)] = damage
    for _ in 0..<3 {
      bench.pass(.milliseconds(100))
      try bench.settle()
    }
    #expect(bench.status.completeness.state == .diverged)
    bench.ask(1, 7)
    #expect(undecided(bench.answers[1]) == "diverged")
    bench.ask(2, 0)
    #expect(bench.answers[2] == .admit(account: "acme"))
    // The changes are followed all the while.
    bench.put(7)
    try bench.answer(Bench.isFeed)
    bench.ask(3, 7)
    #expect(bench.answers[3] == .admit(account: "acme"))
    bench.store.damaged = [:]
    for _ in 0..<2 {
      bench.pass(.milliseconds(100))
      try bench.settle()
    }
    #expect(bench.status.completeness.state == .complete && bench.status.objection == nil)
  }

  /// A complete mirror of a store that has lost the first key.
  private func withLoss() throws -> Bench {
    var bench = try Bench.synced()
    let gone = bench.keys[0]
    let left = bench.keys.dropLast(2).filter { $0 != gone }
    bench.store.begin(
      with: Dictionary(uniqueKeysWithValues: left.map { ($0, KeyRecord(state: .active, since: 1, account: "acme")) }),
      at: bench.now)
    bench.pass(.milliseconds(500))
    try bench.answer(Bench.isPosition)
    try bench.settle()
    #expect(bench.status.violations == 1)
    #expect(bench.notes.contains { if case .vanished(keys: 1, held: 1, _) = $0 { true } else { false } })
    #expect(bench.status.completeness.state == .guarded)
    #expect(bench.status.vanished == 1 && bench.status.quarantined == 1)
    return bench
  }

  @Test func `a key whose record vanished stays admitted until somebody confirms, and others are refused`() throws {
    var bench = try withLoss()
    bench.ask(1, 0)
    #expect(bench.answers[1] == .admit(account: "acme"))
    bench.ask(2, 7)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[2])?.reason == .unknownKey)
    bench.store.confirm(at: bench.now)
    try bench.follow()
    #expect(bench.status.completeness.state == .complete && bench.status.vanished == 0)
    bench.ask(3, 0)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[3])?.reason == .unknownKey)
  }

  @Test(arguments: KeyState.allCases)
  func `a record ends what is held of a key that vanished, whatever it says`(state: KeyState) throws {
    var bench = try withLoss()
    bench.put(0, state)
    try bench.follow()
    #expect(bench.status.completeness.state == .complete && bench.status.vanished == 0)
    bench.ask(1, 0)
    if state != .active { try bench.answer(Bench.isPosition) }
    #expect((bench.answers[1] == .admit(account: "acme")) == (state == .active))
  }

  @Test func `a record that comes with a bucket does so too`() throws {
    var bench = try withLoss()
    bench.give(.disconnected(1, reason: "away"))
    bench.unanswered = []
    bench.put(0, .revoked)
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .complete && bench.status.vanished == 0)
    bench.ask(1, 0)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[1])?.reason == .revokedKey)
  }

  @Test func `ordinary revocations go on while a key is held that vanished`() throws {
    var bench = try withLoss()
    bench.put(1, .revoked)
    try bench.follow()
    #expect(bench.status.quarantined == 1)
    bench.ask(1, 1)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[1])?.reason == .revokedKey)
  }

  @Test(arguments: [false, true])
  func `a confirmation that the node knew before the loss says nothing about it`(isAway: Bool) throws {
    var bench = try Bench.synced()
    bench.store.confirm(at: bench.now)
    try bench.follow()
    bench.put(7)
    try bench.follow()
    // The store is restored from a backup that has the confirmation, but not the put.
    if isAway {
      bench.give(.disconnected(1, reason: "away"))
      bench.unanswered = []
      bench.store.rewind(by: 1, at: bench.now)
      bench.pass(.seconds(2))
    } else {
      bench.store.rewind(by: 1, at: bench.now)
      bench.pass(.milliseconds(500))
    }
    try bench.settle()
    #expect(bench.status.vanished == 1 && bench.status.completeness.state == .guarded)
    bench.ask(1, 7)
    #expect(bench.answers[1] == .admit(account: "acme"))
  }

  @Test func `a loss that was confirmed while the node was away isn't held`() throws {
    var bench = try Bench.synced()
    bench.put(7)
    try bench.follow()
    bench.give(.disconnected(1, reason: "away"))
    bench.unanswered = []
    bench.store.rewind(by: 1, at: bench.now)
    bench.store.confirm(at: bench.now)
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.vanished == 0 && bench.status.violations == 1)
    bench.pass(.milliseconds(50))
    try bench.settle()
    bench.ask(1, 7)
    try bench.answer(Bench.isPosition)
    #expect(refusal(bench.answers[1])?.reason == .unknownKey)
  }

  @Test func `revocations that a restored backup undid are counted until they are made again or confirmed`() throws {
    for ends in 0..<2 {
      var bench = try Bench.synced()
      for key in 0..<2 { bench.put(key, .revoked) }
      try bench.follow()
      bench.store.rewind(by: 2, at: bench.now)
      bench.pass(.milliseconds(500))
      try bench.settle()
      #expect(bench.status.revived == 2 && bench.status.completeness.state == .complete)
      #expect(bench.notes.contains(.revived(keys: 2)))
      // The store says that they are active.
      bench.ask(1, 0)
      #expect(bench.answers[1] == .admit(account: "acme"))
      if ends == 0 {
        bench.put(0, .revoked)
        try bench.follow()
        #expect(bench.status.revived == 1)
      } else {
        bench.store.confirm(at: bench.now)
        try bench.follow()
        #expect(bench.status.revived == 0)
      }
    }
  }

  // MARK: The removal guard

  /// Six active keys, of which at most two may go unannounced.
  private func guarded() throws -> Bench {
    try Bench.synced {
      $0.removalShare = 0.1
      $0.removalMinimum = 2
    }
  }

  private func admitted(_ bench: inout Bench, _ number: UInt64, _ key: Int) throws -> Bool {
    bench.ask(number, key)
    if bench.answers[number] == nil { try bench.answer(Bench.isPosition) }
    return bench.answers[number] == .admit(account: "acme")
  }

  @Test func `more removals than usual stay admitted until somebody confirms them`() throws {
    var bench = try guarded()
    for key in 0..<2 { bench.put(key, .revoked) }
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .complete)
    #expect(try !admitted(&bench, 1, 0))
    bench.put(2, .revoked)
    bench.put(3, .suspended)
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .guarded)
    #expect(bench.status.quarantined == 4)
    #expect(bench.notes.contains(.guarded(keys: 3)))
    // Those that went before it was noticed, too.
    for key in 0..<4 { #expect(try admitted(&bench, UInt64(10 + key), key)) }
    // A key that was never here is refused as ever.
    #expect(try !admitted(&bench, 20, 7))
    #expect(refusal(bench.answers[20])?.reason == .unknownKey)
    bench.store.confirm(at: bench.now)
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .complete && bench.status.quarantined == 0)
    #expect(bench.notes.contains(.guardReleased))
    for key in 0..<4 { #expect(try !admitted(&bench, UInt64(30 + key), key)) }
    #expect(refusal(bench.answers[33])?.reason == .suspendedKey)
  }

  @Test func `removals that were agreed to are nobody's mistake, and let no others pass`() throws {
    var bench = try guarded()
    for key in 0..<3 { bench.put(key, .revoked, isAgreed: true) }
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .complete)
    for key in 3..<6 { bench.put(key, .revoked) }
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .guarded && bench.status.quarantined == 3)
    #expect(try !admitted(&bench, 1, 0))
    #expect(try admitted(&bench, 2, 5))
  }

  @Test func `an agreement about a key that isn't active here lets no other removal pass`() throws {
    var bench = try guarded()
    bench.put(0, .revoked)
    try bench.answer(Bench.isFeed)
    // The store says so of keys that this mirror knows to be over: nothing is left of it.
    for _ in 0..<5 { bench.put(0, .suspended, isAgreed: true) }
    for key in 1..<4 { bench.put(key, .revoked) }
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .guarded && bench.status.quarantined == 4)
  }

  @Test(arguments: [0, 2, 4])
  func `a node that was away may lose what was agreed to meanwhile, and later no more`(agreed: Int) throws {
    var bench = try guarded()
    bench.give(.disconnected(1, reason: "away"))
    bench.unanswered = []
    for key in 0..<4 { bench.put(key, .revoked, isAgreed: key < agreed) }
    bench.pass(.seconds(2))
    try bench.settle()
    // Two may go unagreed.
    #expect(bench.status.completeness.state == (agreed == 0 ? .guarded : .complete))
    guard agreed == 4 else { return }
    for key in 4..<6 { bench.put(key, .revoked) }
    bench.put(7)
    bench.put(7, .revoked)
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .guarded && bench.status.quarantined == 3)
  }

  @Test func `what was agreed to in another history lets nothing pass`() throws {
    var bench = try guarded()
    bench.give(.disconnected(1, reason: "away"))
    bench.unanswered = []
    bench.populate()
    for _ in 0..<100 {
      bench.put(7)
      bench.put(7, .revoked, isAgreed: true)
    }
    for key in 0..<4 { bench.put(key, .revoked) }
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == .guarded)
    #expect(try admitted(&bench, 1, 0))
  }

  @Test func `a key that is put again leaves the quarantine`() throws {
    var bench = try guarded()
    for key in 0..<4 { bench.put(key, .revoked) }
    try bench.answer(Bench.isFeed)
    #expect(bench.status.quarantined == 4)
    for key in 0..<4 { bench.put(key) }
    try bench.answer(Bench.isFeed)
    #expect(bench.status.completeness.state == .complete && bench.status.quarantined == 0)
  }

  @Test(arguments: [false, true])
  func `removals while the node was away are guarded alike, unless they were confirmed`(confirmed: Bool) throws {
    var bench = try guarded()
    bench.give(.disconnected(1, reason: "away"))
    bench.unanswered = []
    for key in 0..<4 { bench.put(key, .revoked) }
    if confirmed { bench.store.confirm(at: bench.now) }
    bench.pass(.seconds(2))
    try bench.settle()
    #expect(bench.status.completeness.state == (confirmed ? .complete : .guarded))
    #expect(try admitted(&bench, 1, 0) == !confirmed)
  }

  @Test func `removals far apart in time are business as usual`() throws {
    var bench = try guarded()
    for key in 0..<6 {
      bench.put(key, .revoked)
      try bench.answer(Bench.isFeed)
      bench.pass(.seconds(301))
      try bench.settle()
    }
    #expect(bench.status.completeness.state == .complete)
    #expect(try !admitted(&bench, 1, 5))
  }

  // MARK: The end

  @Test func `a shutdown answers who waits, and who asks later`() throws {
    var bench = try Bench.synced()
    bench.ask(1, 7)
    bench.give(.shutDown)
    #expect(undecided(bench.answers[1]) == "shutting_down")
    #expect(bench.replica.nextWake == nil)
    bench.ask(2, 7)
    #expect(undecided(bench.answers[2]) == "shutting_down")
    bench.ask(3, 0)
    #expect(bench.answers[3] == .admit(account: "acme"))
    bench.pass(.seconds(10))
    bench.give(.disconnected(1, reason: "late"))
    bench.give(.shutDown)
    #expect(bench.unanswered.isEmpty)
  }
}
