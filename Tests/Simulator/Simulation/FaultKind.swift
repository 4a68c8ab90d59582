// The kinds of faults in a run, and their rates. The seed decides which kinds a run has (swarm testing: some failures
// need a quiet time between two faults, and would never occur if every fault happened all the time), and the rates.

/// A kind of fault.
public enum FaultKind: String, CaseIterable, Sendable {
  // Between node and store.
  case lostMessage, cutConnection, halfOpen, refusedConnection
  // At the node: events that its driver brings twice, or too late.
  case duplicateEvent, lateReply
  case crash, shutdown, tornStateFile, foreignStateFile, wallClockJump
  // At the store.
  case slowStore, stalledStore, downStore, errorReplies, demotedStore, fullStore
  case trimmedStream, failover, deposedPrimary, lostReplicas, undeclaredReplicas
  case flush, restoredSnapshot, sameImportAgain, otherStore
  case storeClockJump
  case handEdit, recomputedEdit, undecodableRecord, otherSchema, unsealedStore
  // Commands that the nodes' user may not use.
  case deniedCommands
  // At the publisher.
  case duplicateCall
  // At the source and the publishers that follow it: a follower that is killed, one that is paused until its lease has
  // ended while another one follows, one whose address leads to a wrong store, one under whom a backup is restored
  // between two of its steps, a source that can't be read, a transaction that commits late, another publisher that
  // changes keys in the store, and lists that lack rows or were exported long ago.
  case deadFollower, pausedFollower, misdirectedFollower, restoredUnderFollower, sourceAway, lateCommit, otherPublisher
  case truncatedList, staleList
  // At clients: many unknown keys are sent to one node.
  case strangers

  /// Whether it comes by itself, and only in runs with a source.
  var isOfSource: Bool { [.deadFollower, .sourceAway, .misdirectedFollower].contains(self) }
}

/// The faults of one run.
struct FaultMix {
  /// Probability in thousandths at each occasion of its kind; 0 if the kind is off.
  private var rates: [Int]
  /// Kinds that come about by themselves, each as often as it says.
  private(set) var spontaneous: [(kind: FaultKind, weight: Int)] = []

  private static let indexes = Dictionary(uniqueKeysWithValues: FaultKind.allCases.enumerated().map { ($1, $0) })

  /// What happens by itself, and how often against each other. The others happen on the occasion of something else.
  private static let weights: [(FaultKind, Int)] = [
    (.cutConnection, 6), (.halfOpen, 4), (.crash, 5), (.shutdown, 3), (.wallClockJump, 3), (.slowStore, 3),
    (.stalledStore, 3), (.downStore, 4), (.errorReplies, 4), (.demotedStore, 3), (.fullStore, 2),
    (.trimmedStream, 6), (.failover, 5), (.deposedPrimary, 5), (.lostReplicas, 3), (.undeclaredReplicas, 3),
    (.flush, 2), (.restoredSnapshot, 4),
    (.sameImportAgain, 4), (.otherStore, 3),
    (.storeClockJump, 4),
    (.handEdit, 7), (.recomputedEdit, 4), (.undecodableRecord, 2), (.otherSchema, 2), (.strangers, 4),
    (.deadFollower, 4), (.sourceAway, 3), (.misdirectedFollower, 3),
  ]

  init(random: inout SeededRandom) {
    rates = Array(repeating: 0, count: FaultKind.allCases.count)
    // One run in ten has no faults at all, and must have no alarms either.
    if random.chance(100) { return }
    let share = random.pick([100, 300, 500, 800])
    for (index, kind) in FaultKind.allCases.enumerated() {
      // A reply that might come late is on its way seldom enough.
      if random.chance(share) { rates[index] = kind == .lateReply ? 700 : random.pick([5, 20, 60, 200]) }
    }
    for (kind, weight) in Self.weights where self[kind] > 0 {
      spontaneous.append((kind, weight * random.within(1...4)))
    }
  }

  /// More of what comes with a source, for runs that have one: each of these kinds needs another one to do harm.
  mutating func addFaultsOfSource(random: inout SeededRandom) {
    let kinds: [FaultKind] = [
      .pausedFollower, .restoredUnderFollower, .lateCommit, .otherPublisher, .truncatedList, .staleList,
    ]
    for kind in kinds where self[kind] == 0 && random.chance(300) {
      rates[Self.indexes[kind]!] = random.pick([20, 60, 200])
    }
  }

  subscript(kind: FaultKind) -> Int { rates[Self.indexes[kind]!] }

  var isCalm: Bool { rates.allSatisfy { $0 == 0 } }

  /// In words.
  var description: String {
    isCalm ? "none" : FaultKind.allCases.filter { self[$0] > 0 }.map(\.rawValue).joined(separator: ", ")
  }
}
