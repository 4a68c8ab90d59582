// Where a replica is on its way to following the store, and what exists only there.
//
// Each phase owns its state: questions wait, changes are read and buckets are scrubbed only while the store is
// followed, a manifest is awaited only while comparing. Whoever leaves a phase drops all of that at once, and can't
// forget a part of it. So the state is in three layers, by how long it lasts:
//
// - a phase: its struct below. `Replica.enter` is the only way from one to the next;
// - a conversation with the store: `Conversation`, handed on from comparing to reading to following;
// - the process: the properties of `Replica`. They are what was learned (mirror, removals, damage, age) and what limits
//   the replica whatever happens to it (retries, the pace of reads, the numbers of reads and conversations).
//
// Questions are the one thing that mustn't just be dropped. `enter` answers those of the phase that it leaves, by the
// reason for which nobody can be refused in the next one.
//
// `Following` is a class, so that it is changed where it is. As a struct in the enum it was taken out and put back for
// each change, which cost more than applying a change of the store. A replica isn't copied: its table is shared anyway.
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

  /// What lasts as long as one conversation with the store.
  struct Conversation {
    /// Whether a read of changes is on its way, in whatever phase it was sent. The next one waits for it: a
    /// conversation answers in order.
    var isReadingChanges = false
    /// Why reads aren't fenced, if the last that should have been wasn't.
    var unfenced: String?
  }

  /// The manifest has been asked for; what differs will be known when it comes.
  struct Comparing {
    var conversation: Conversation
    let reason: String
    /// Whether the store wasn't heard in this conversation yet: it may have left its history while nobody followed.
    let isFirst: Bool
    /// When the manifest's read was sent.
    let sentAt: Instant
    /// When it is sent again, because the answer to this one couldn't be used; nil until that came.
    var retryAt: Instant?
  }

  /// The buckets that differ are being read, some at a time; the old ones go on serving.
  struct Reading {
    var conversation: Conversation
    let manifest: Manifest
    var pending: ArraySlice<Int>
    var inFlight: Set<Int> = []
    var refused: [String] = []
  }

  /// Changes are applied as they come; positions are read now and then, and for the barrier.
  final class Following {
    // Not checked for overlapping accesses, which took a tenth of the time of a change: all three are values that call
    // nothing outside of themselves, so nothing comes back here while one is accessed.
    @exclusivity(unchecked) var conversation: Conversation
    @exclusivity(unchecked) var barrier: Barrier
    @exclusivity(unchecked) var feed = ChangeFeed()
    /// How many replicas the store was said to have when it was read last.
    var replicas: Int?
    var positionDue: Instant
    /// Why the last read of the position was answered with an error, if it was. Each question makes its own try; this
    /// is for the status.
    var positionFailure: String?
    var audit: Audit
    /// The bucket that is being read again to see whether somebody edited it.
    var rereading: Int?
    /// When everything is compared again, because something doesn't fit; nil while all does.
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

    /// While a comparison is due anyway, neither an audit nor a bucket would tell anything.
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

    /// Notes that changes are asked for now.
    /// - Returns: Whether they may be.
    func beginReadingChanges(at now: Instant) -> Bool {
      guard !conversation.isReadingChanges, !feed.isBroken else { return false }
      conversation.isReadingChanges = true
      feed.sent(at: now)
      return true
    }

    /// Notes that a read of changes was answered.
    /// - Returns: Whether what it brought counts.
    func changesCame() -> Bool {
      conversation.isReadingChanges = false
      return feed.came()
    }

    /// Notes that the position is asked for now.
    /// - Returns: The read.
    func beginReadingPosition(
      at now: Instant, applied: UInt64, nextAfter interval: Duration
    ) -> Barrier.Read? {
      // Nobody rests a refusal on a read that is made only to see how things are, so it needs no write.
      let fencedBy = barrier.isWaitedFor || conversation.unfenced != nil ? Fence.needed(of: replicas) : 0
      barrier.sent(at: now, applied: applied, fencedBy: fencedBy)
      positionDue = now + interval
      return barrier.read
    }
  }

  /// What exists only while following; nil in any other phase.
  var following: Following? { if case .following(let following) = phase { following } else { nil } }
}
