// What goes into the replica's state machine, and what comes out of it.

extension Replica {
  /// Bounds of everything that waits or repeats.
  public struct Limits: Sendable {
    /// How long a request may wait for a proof.
    public var barrierWait: Duration = .seconds(2)
    /// How many requests may wait for a proof at once.
    public var barrierQueue = 50_000
    /// How long after one read for a proof the next is sent at the earliest. Anybody can knock with unknown keys
    /// without a pause; without this bound a node would then read without a pause too, and a few nodes would have all
    /// of the store's time.
    public var barrierInterval: Duration = .milliseconds(1)
    /// How old the mirror may be to admit anybody: how long a revoked key may go on if the store is away.
    public var admitAge: Duration = .seconds(3600)
    /// How often the position is read when nobody asks for a proof.
    public var positionInterval: Duration = .milliseconds(500)
    /// How often all digests and lengths are compared while following.
    public var auditInterval: Duration = .seconds(300)
    /// How often one bucket is read again, to see whether somebody edited it: all of them in bucketCount times this.
    public var rereadInterval: Duration = .milliseconds(500)
    /// Removals that nobody agreed to are quarantined when there are more of them than this share of the active keys,
    /// and more than the minimum, within the window.
    public var removalShare = 0.1
    public var removalMinimum = 100
    public var removalWindow: Duration = .seconds(600)
    /// How many buckets are asked for at once.
    public var bucketsInFlight = 32
    /// The wait after a failure: doubling from the first to the last, with jitter.
    public var firstRetry: Duration = .milliseconds(50)
    public var lastRetry: Duration = .seconds(2)

    public init() {}
  }

  /// A read was answered, but not with what was asked for: an error reply, or something unreadable.
  public struct ReadFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
  }

  /// Numbers the conversations, so that what belongs to a former one is told apart.
  public typealias ConnectionID = UInt64

  public enum Event: Sendable {
    case connected(ConnectionID)
    /// The conversation ended, or couldn't be begun; why, in words.
    case disconnected(ConnectionID, reason: String)
    /// With the number that its command had.
    case manifest(ConnectionID, read: UInt64, Result<StoreAnswer<Manifest>, ReadFailure>)
    case bucket(ConnectionID, Int, Result<RawBucket, ReadFailure>)
    /// With the number that its command had.
    case position(ConnectionID, read: UInt64, Fence, Result<StoreAnswer<StorePosition>, ReadFailure>)
    /// The changes after the version that was asked for; none if none came within the read's time.
    case changes(ConnectionID, Result<[Change], ReadFailure>)
    /// A request wants a verdict for a key that the mirror doesn't hold as active.
    case asked(Question)
    /// The moment that ``nextWake`` named has come, or any other.
    case timePassed
    /// The node is about to end: whoever waits is answered now.
    case shutDown
  }

  public enum Command: Sendable {
    case connect(ConnectionID)
    case disconnect(ConnectionID)
    case readManifest(ConnectionID, read: UInt64)
    case readBucket(ConnectionID, Int)
    /// Fenced by so many replicas, of a Redis alone by none: a small write, which they must have confirmed, and then the read.
    case readPosition(ConnectionID, read: UInt64, fencedBy: Int)
    /// Writes into the store that at least so many replicas were seen to follow. It has no answer: the next position says what became of it.
    case recordReplicas(ConnectionID, Int)
    /// Waits at the store for changes, a bounded time.
    case readChanges(ConnectionID, after: UInt64)
    case answer(Question, Verdict)
    /// Something an operator would want to know, for the log.
    case note(Note)
  }

  /// What happened, for the log.
  public enum Note: Sendable, Hashable {
    case connected
    case storeAway(String)
    /// What differs is about to be read.
    case reading(buckets: Int, reason: String)
    case bucketRefused(String)
    case complete(keys: Int, version: UInt64, epoch: String, sealed: Bool)
    case resync(String)
    /// Nobody can be refused until this has been put right.
    case trouble(String)
    /// Removals have become too many, and are quarantined from here on.
    case guarded(keys: Int)
    case guardReleased
    /// Nobody can be refused, because the other servers of the store don't bear the primary out; in words.
    case unfenced(String)
    case fenced
    /// Keys of a bucket have vanished without a change that ended them.
    case vanished(keys: Int, bucket: Int)
    /// A read was answered with an error; once for each that is another than the one before.
    case readFailed(String)
  }
}
