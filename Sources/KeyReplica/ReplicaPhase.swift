// The phases of a replica, and the state that belongs to each.
//
// Each phase owns its state: questions wait, changes are read and buckets are read again only while the store is
// followed; a manifest is awaited only while comparing. When a phase is left, all of its state is dropped at once, so
// no part of it can be forgotten. So the state has three layers, by how long it lasts:
//
// - a phase: its struct below. `Replica.enter` is the only way from one phase to the next;
// - a connection to the store: `Conversation`, passed from comparing to reading to following;
// - the process: the properties of `Replica`. They are learned facts (mirror, removals, damage, age) and limits that
//   always apply (retries, the pace of reads, the numbers of reads and connections).
//
// Questions are the only state that must not just be dropped. `enter` answers those of the old phase with the reason
// why no key can be refused in the new one.
//
// `Following` is a class, so that it is changed in place. As a struct in the enum it was moved out and back for each
// change, which cost more than applying the change. A replica isn't copied: its table is shared anyway.
//
// Rejected: optional properties beside a plain enum, which have to be reset by hand at each transition.

extension Replica {
  enum Phase {
    case disconnected(retryAt: Instant)
    case connecting
    // Large and rare: kept outside of the enum, which is switched over for each event.
    indirect case comparing(Comparing)
    indirect case reading(Reading)
    case following(Following)
    case shutDown
  }

  /// State that lasts as long as one connection to the store.
  struct Conversation {
    /// Whether a read of changes is in flight, whichever phase sent it. The next one waits for its reply, because
    /// replies arrive in order.
    var isReadingChanges = false
    /// Why reads aren't fenced, if the last read that needed a fence had none.
    var unfenced: String?
  }

  /// The manifest has been requested. The differences will be known when it arrives.
  struct Comparing {
    var conversation: Conversation
    let reason: String
    /// Whether the store hasn't answered yet on this connection: its history may have changed while it wasn't followed.
    let isFirst: Bool
    /// When the manifest's read was sent.
    let sentAt: Instant
    /// When the manifest is requested again, because the last answer couldn't be used; nil while a request is in
    /// flight.
    var retryAt: Instant?
  }

  /// The buckets that differ are being read, some at a time. The old ones stay in use.
  struct Reading {
    var conversation: Conversation
    let manifest: Manifest
    var pending: ArraySlice<Int>
    var inFlight: Set<Int> = []
    var refused: [String] = []
  }

  /// Changes are applied as they arrive. Positions are read periodically, and for the barrier.
  final class Following {
    // Exclusivity isn't checked for these three properties, because the checks took a tenth of the time of a change.
    // All three are values whose methods call no outside code, so no access can overlap another.
    @exclusivity(unchecked) var conversation: Conversation
    @exclusivity(unchecked) var barrier: Barrier
    @exclusivity(unchecked) var feed = ChangeFeed()
    /// The declared number of replicas, as last read.
    var replicas: Int?
    var positionDue: Instant
    /// The error of the last read of the position, if it failed. Only for the status: each question makes its own try.
    var positionFailure: String?
    var audit: Audit
    /// The bucket that is being read again, to detect edits by hand.
    var rereading: Int?
    /// When everything is compared again, because of a contradiction; nil if there is none.
    var compareAt: Instant?
    var saidComplete = false

    init(conversation: Conversation, barrier: Barrier, replicas: Int?, positionDue: Instant, auditDue: Instant) {
      self.conversation = conversation
      self.barrier = barrier
      self.replicas = replicas
      self.positionDue = positionDue
      audit = .due(auditDue)
    }

    /// The comparison of all digests and lengths.
    enum Audit {
      case due(Instant)
      case onItsWay
    }

    /// While a comparison is due, neither an audit nor reading a bucket again would be useful.
    var auditDue: Instant? {
      if case .due(let due) = audit, compareAt == nil { due } else { nil }
    }
    var mayReread: Bool { rereading == nil && compareAt == nil }

    func nextWake(scrubDue: Instant) -> Instant? {
      [
        compareAt, barrier.nextDeadline, barrier.nextRead, barrier.read == nil ? positionDue : nil, auditDue,
        mayReread ? scrubDue : nil,
      ].compactMap { $0 }.min()
    }

    /// Records that changes are requested now.
    /// - Returns: Whether they may be requested.
    func beginReadingChanges(at now: Instant) -> Bool {
      guard !conversation.isReadingChanges, !feed.isBroken else { return false }
      conversation.isReadingChanges = true
      feed.sent(at: now)
      return true
    }

    /// Records that a read of changes was answered.
    /// - Returns: Whether the reply counts.
    func changesCame() -> Bool {
      conversation.isReadingChanges = false
      return feed.came()
    }

    /// Records that the position is requested now.
    /// - Returns: The read.
    func beginReadingPosition(
      at now: Instant, applied: UInt64, nextAfter interval: Duration
    ) -> Barrier.Read? {
      // A periodic read proves no refusal, so it needs no write.
      let fencedBy = barrier.isWaitedFor || conversation.unfenced != nil ? Fence.needed(of: replicas) : 0
      barrier.sent(at: now, applied: applied, fencedBy: fencedBy)
      positionDue = now + interval
      return barrier.read
    }
  }

  /// The state of the following phase; nil in any other phase.
  var following: Following? { if case .following(let following) = phase { following } else { nil } }
}
