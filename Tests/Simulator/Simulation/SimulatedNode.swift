// One ingest node as far as its mirror goes: the state machine, the two conversations of its driver, its state file and its
// requests. What the driver does on Redis is done here on a simulated server, under its rules: replies come in the order of
// the commands of their conversation, either conversation's end is the end of both, every read has a deadline.

import KeyReplica

final class SimulatedNode {
  /// A command on its way in one conversation.
  struct Exchange {
    let command: Replica.Command
    let deadline: Instant
    var reply: Replica.Event?
    /// The time until which the server holds the request back to wait for changes.
    var parkedUntil: Instant?
  }

  struct Conversation {
    var exchanges: [Exchange] = []
    /// When the last message arrives. A later message never arrives before it.
    var lastAt = Instant(nanoseconds: 0)
    /// No message arrives any more, and neither side is told.
    var isLost = false
    var deadlineIsSet = false
  }

  struct Link {
    let session: Replica.ConnectionID
    let server: Int
    var control = Conversation()
    var feed = Conversation()
    /// The node has been told in it that a replica follows.
    var sawReplica = false

    subscript(feed isFeed: Bool) -> Conversation {
      get { isFeed ? feed : control }
      _modify { if isFeed { yield &feed } else { yield &control } }
    }
  }

  struct Pending {
    let question: Question
    let askedAt: Instant
  }

  /// What lives as long as the node's process. What is asked of the machine all the time is kept here, since to look at a value that
  /// lies in an object copies all of it.
  final class Process {
    private var replica: Replica
    private(set) var nextWake: Instant?
    private(set) var admitUntil: Instant?

    init(_ replica: Replica) {
      self.replica = replica
      (nextWake, admitUntil) = self.replica.moments()
    }

    func handle(_ event: Replica.Event, now: Instant) -> [Replica.Command] {
      let commands = replica.handle(event, now: now)
      (nextWake, admitUntil) = replica.moments()
      return commands
    }

    func status(at now: Instant) -> ReplicaStatus { replica.statusInPlace(at: now) }
    func image(source: String, at now: Instant, wall: Double) -> MirrorImage? {
      replica.image(source: source, at: now, wall: wall)
    }
    func held(_ key: KeyID) -> HeldKey? { replica.heldInPlace(key) }
  }

  let index: Int
  var limits: Replica.Limits
  /// Nil while it isn't running.
  var process: Process?
  var table: KeyTable
  var incarnation = 0
  var bornAt: Instant
  var link: Link?
  /// The conversation that is being opened.
  var connecting: Replica.ConnectionID?
  var wakeAt: Instant?
  var pending: [Pending] = []

  /// The state file, and how far the node's wall clock is from the true time.
  var stateFile: [UInt8]?
  /// It was cut off or damaged when it was written.
  var stateFileMustBeRefused = false
  /// When the store had last answered before the file was written.
  var stateFileHeardAt = Instant(nanoseconds: 0)
  var wallOffset = Duration.zero
  /// How much older the restored mirror is than the node can know, because its clock was set back.
  var restoredSlack = Duration.zero
  var restoredHeardAt: Instant?

  // What is remembered of it for the checks.
  /// Keys that it held back for an operator, as its state file has them, and as it has them from there.
  var stateFileHeldBack: Set<KeyID> = []
  var restoredHeldBack: Set<KeyID> = []
  /// What its table holds.
  var held: Holdings
  var sawActive: [Bool]
  /// When it came to know each key as active last; and as its state file has that, of keys that it held when that was written.
  var becameActive: [Instant?]
  var stateFileBecameActive: [Instant?]
  /// The confirmations that it knows, and as its state file has them.
  var confirmations = Confirmations()
  var stateFileConfirmations = Confirmations()
  /// The store that it has mirrored as a whole, and as its state file has that.
  var trusted: String?
  var stateFileStore: String?
  var checkedAdmitUntil: Instant?
  /// Whether its guard held keys back or let them go in the present event.
  var guardMoved = false
  /// Whether it went by the manifest that the present event brought.
  var tookManifest = false
  /// Buckets that the last manifest gave it reason to read.
  var mayRead: Set<Int> = []
  /// When each key was last admitted, and last proven unknown.
  var admittedAt: [KeyID: Instant] = [:]
  var unknownAt: [KeyID: Instant] = [:]
  var commandsInWindow = 0
  var questionsInWindow = 0
  var rereadsInWindow = 0
  var windowStart: Instant

  init(index: Int, limits: Replica.Limits, bucketCount: Int, now: Instant) {
    self.index = index
    self.limits = limits
    table = KeyTable(bucketCount: bucketCount)
    bornAt = now
    windowStart = now
    held = Array(repeating: .none, count: SimulatedKeys.all.count)
    sawActive = Array(repeating: false, count: SimulatedKeys.all.count)
    becameActive = Array(repeating: nil, count: SimulatedKeys.all.count)
    stateFileBecameActive = becameActive
  }
}

extension Replica {
  // Mutating only in name: so they look at the machine where it lies.
  fileprivate mutating func moments() -> (nextWake: Instant?, admitUntil: Instant?) { (nextWake, admitUntil) }
  fileprivate mutating func heldInPlace(_ key: KeyID) -> HeldKey? { held(key) }
  fileprivate mutating func statusInPlace(at now: Instant) -> ReplicaStatus { status(at: now) }
}
