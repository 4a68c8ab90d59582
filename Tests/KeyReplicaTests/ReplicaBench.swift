// The replica's state machine with a store. The test decides when the store answers a command.

import Testing

@testable import KeyReplica

/// A machine, its store, and the commands that haven't been answered.
struct ReplicaBench {
  var store = ModelStore(bucketCount: 2)
  var table = KeyTable(bucketCount: 2)
  var replica: Replica
  var now = Instant(nanoseconds: 0)
  /// How many replicas confirm what is written before a read, and what there is of others.
  var confirming = 0
  var signs = ReplicaSigns.none
  var unanswered: [Replica.Command] = []
  var answers: [UInt64: Verdict] = [:]
  var notes: [Replica.Note] = []
  let keys = (0..<8).map { KeyID(secret: "key \($0)".utf8) }

  init(populated: Bool = true, _ change: (inout Replica.Limits) -> Void = { _ in }) {
    var limits = Replica.Limits()
    // Out of the way, except where it is what is looked at.
    limits.rereadInterval = .seconds(1_000_000)
    limits.barrierInterval = .zero
    change(&limits)
    replica = Replica(table: table, limits: limits, seed: 1, now: now)
    if populated { populate() }
  }

  mutating func populate(account: String = "acme", sealed: Bool = true) {
    let records = keys.dropLast(2).map { ($0, KeyRecord(state: .active, since: 1, account: account)) }
    store.begin(with: Dictionary(uniqueKeysWithValues: records), sealed: sealed, at: now)
  }

  mutating func put(_ key: Int, _ state: KeyState = .active, isAgreed: Bool = false, expiresAt: Int64? = nil) {
    let record = KeyRecord(state: state, since: 2, expiresAt: expiresAt, account: "acme")
    store.put(keys[key], record, isAgreed: isAgreed, at: now)
  }

  mutating func give(_ event: Replica.Event) {
    for command in replica.handle(event, now: now) {
      switch command {
      case .answer(let question, let verdict):
        #expect(answers[question.number] == nil, "answered twice")
        answers[question.number] = verdict
      case .note(let note): notes.append(note)
      case .disconnect: unanswered = []
      default: unanswered.append(command)
      }
    }
  }

  mutating func pass(_ duration: Duration) {
    now = now + duration
    give(.timePassed)
  }

  mutating func ask(_ number: UInt64, _ key: Int) { give(.asked(Question(number: number, key: keys[key]))) }

  func reply(to command: Replica.Command) -> Replica.Event {
    switch command {
    case .connect(let session): .connected(session)
    case .readManifest(let session, let read): .manifest(session, read: read, .success(store.manifest()))
    case .readBucket(let session, let bucket): .bucket(session, bucket, .success(store.bucket(bucket)))
    case .readPosition(let session, let read, let fencedBy):
      .position(
        session, read: read, Fence(confirmations: min(fencedBy, confirming), signs: signs),
        .success(store.position()))
    case .readChanges(let session, let version): .changes(session, .success(store.changes(after: version)))
    case .disconnect, .recordReplicas, .answer, .note: .timePassed
    }
  }

  /// Takes the first command that waits for its answer and is of a kind.
  mutating func take(_ fits: (Replica.Command) -> Bool) throws -> Replica.Command {
    let found = unanswered.firstIndex(where: fits)
    let index = try #require(found, "only \(unanswered) wait")
    return unanswered.remove(at: index)
  }

  mutating func answer(_ fits: (Replica.Command) -> Bool) throws { give(reply(to: try take(fits))) }

  /// Answers the feed, and once more: the first answer may be one to a read from before a comparison.
  mutating func follow() throws { for _ in 0..<2 { try answer(Self.isFeed) } }

  /// Answers everything but the feed, until nothing else waits.
  mutating func settle() throws {
    while unanswered.contains(where: { !Self.isFeed($0) }) { try answer { !Self.isFeed($0) } }
  }

  static func synced(_ change: (inout Replica.Limits) -> Void = { _ in }) throws -> ReplicaBench {
    var bench = ReplicaBench(populated: true, change)
    bench.give(.timePassed)
    try bench.settle()
    try #require(bench.status.completeness.state == .complete)
    return bench
  }

  var status: ReplicaStatus { replica.status(at: now) }

  static func isFeed(_ command: Replica.Command) -> Bool {
    if case .readChanges = command { true } else { false }
  }
  static func isPosition(_ command: Replica.Command) -> Bool {
    if case .readPosition = command { true } else { false }
  }
  static func isManifest(_ command: Replica.Command) -> Bool {
    if case .readManifest = command { true } else { false }
  }
  static func isBucket(_ command: Replica.Command) -> Bool {
    if case .readBucket = command { true } else { false }
  }
  static func isConnect(_ command: Replica.Command) -> Bool {
    if case .connect = command { true } else { false }
  }
}

func refusal(_ verdict: Verdict?) -> (reason: RefusalReason, proof: Proof)? {
  if case .refuse(let reason, let proof) = verdict { (reason, proof) } else { nil }
}
func undecided(_ verdict: Verdict?) -> String? {
  if case .undecided(let why) = verdict { why.code } else { nil }
}
