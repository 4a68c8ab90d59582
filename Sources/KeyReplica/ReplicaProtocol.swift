// The events and commands of the replica's state machine.

extension Replica {
  /// Limits of everything that waits or repeats.
  public struct Limits: Sendable {
    /// Timeout of a request that waits for a proof.
    public var barrierWait: Duration = .seconds(2)
    /// Maximum requests that wait for a proof.
    public var barrierQueue = 50_000
    /// Minimum time between two reads for a proof. Any client can send unknown keys without a pause. Without this limit
    /// a node would then read without a pause too, and a few nodes would use all of the store's time.
    public var barrierInterval: Duration = .milliseconds(1)
    /// What a refusal is proven against.
    public var proveAgainst = ProofBasis.store
    /// Minimum time from any read of the position to the next one that is made because questions wait for a source
    /// mark.
    public var markInterval: Duration = .milliseconds(50)
    /// Maximum mirror age for admission. Bounds how long a revoked key works while the store is unreachable.
    public var admitAge: Duration = .seconds(3600)
    /// How often the position is read when no question waits for a proof.
    public var positionInterval: Duration = .milliseconds(500)
    /// How often all digests and lengths are compared while following.
    public var auditInterval: Duration = .seconds(300)
    /// How often one bucket is read again, to detect edits by hand. All buckets take bucketCount times this.
    public var rereadInterval: Duration = .milliseconds(500)
    /// Removals that aren't marked as intended are quarantined when there are more of them than this share of the
    /// active keys, and more than the minimum, within the window.
    public var removalShare = 0.1
    public var removalMinimum = 100
    public var removalWindow: Duration = .seconds(600)
    /// Minimum distinct unknown keys within the window for a refusal storm: unknown keys are answered 503.
    public var stormKeys = 10
    /// In a refusal storm more than this share of the distinct keys within the window is unknown, in percent. At 100
    /// there is never a storm.
    public var stormShare = 50
    /// Time for which distinct keys are counted.
    public var stormWindow: Duration = .seconds(60)
    /// Maximum buckets in flight.
    public var bucketsInFlight = 32
    /// The wait after a failure: doubling from the first to the last, with jitter.
    public var firstRetry: Duration = .milliseconds(50)
    public var lastRetry: Duration = .seconds(2)

    public init() {}
  }

  /// A read got an error reply, or an unreadable reply.
  public struct ReadFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
  }

  /// Numbers the connections, so that replies of an earlier one are ignored.
  public typealias ConnectionID = UInt64

  public enum Event: Sendable {
    case connected(ConnectionID)
    /// The connection ended, or couldn't be opened; the reason as text.
    case disconnected(ConnectionID, reason: String)
    /// With the number of its read command.
    case manifest(ConnectionID, read: UInt64, Result<StoreAnswer<Manifest>, ReadFailure>)
    case bucket(ConnectionID, Int, Result<RawBucket, ReadFailure>)
    /// With the number of its read command.
    case position(ConnectionID, read: UInt64, Fence, Result<StoreAnswer<StorePosition>, ReadFailure>)
    /// The changes after the requested version. Empty if none arrived during the read's wait.
    case changes(ConnectionID, Result<[Change], ReadFailure>)
    /// A request needs a verdict on a key that isn't active in the mirror.
    case asked(Question)
    /// The time of ``nextWake``, or any other time.
    case timePassed
    /// The node is about to end: waiting questions are answered now.
    case shutDown
  }

  public enum Command: Sendable {
    case connect(ConnectionID)
    case disconnect(ConnectionID)
    case readManifest(ConnectionID, read: UInt64)
    case readBucket(ConnectionID, Int)
    /// Reads the position. If a number of replicas must confirm (0 for a single Redis), a small write precedes the
    /// read, and they must confirm it.
    case readPosition(ConnectionID, read: UInt64, fencedBy: Int)
    /// Records in the store that at least this number of replicas was seen. There is no event for the result: the next
    /// position shows it.
    case recordReplicas(ConnectionID, Int)
    /// Waits in the store for changes, for a bounded time.
    case readChanges(ConnectionID, after: UInt64)
    case answer(Question, Verdict)
    /// An event for operators, for the log.
    case note(Note)
  }

  /// An event for the log.
  public enum Note: Sendable, Hashable {
    case connected
    case storeAway(String)
    /// The buckets that differ are about to be read.
    case reading(buckets: Int, reason: String)
    case bucketRefused(String)
    case complete(keys: Int, version: UInt64, epoch: String, sealed: Bool)
    case resync(String)
    /// No key can be refused until this problem is solved.
    case trouble(String)
    /// There are too many removals. From now on they are quarantined.
    case guarded(keys: Int)
    case guardReleased
    /// Most keys that clients sent lately are unknown. From now on unknown keys aren't refused.
    case refusalStorm(unknown: Int, admitted: Int)
    case refusalStormOver
    /// Refusals suspended: the primary isn't confirmed by the store's other servers; the reason as text.
    case unfenced(String)
    case fenced
    /// Refusals suspended: the source mark is too old; the reason as text.
    case sourceStale(String)
    case sourceRecent
    /// The store has lost the maximum age of its source mark. The last known one, which is given, stays in force.
    case sourceMaxAgeLost(Duration)
    /// Records of a bucket's keys have vanished without a change that revoked or suspended the keys; and the number of
    /// all keys that are held for that reason.
    case vanished(keys: Int, held: Int, bucket: Int)
    /// The store's history went back, and keys are active again that had been suspended or revoked.
    case revived(keys: Int)
    /// The node mirrors and remembers this store from now on.
    case mirrors(StoreIdentity)
    /// A read was answered with an error. Logged again only if the error differs.
    case readFailed(String)
  }
}
