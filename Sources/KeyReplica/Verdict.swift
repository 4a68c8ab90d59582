// The three verdicts on a key. There is no fourth, and in particular no "not found": that the mirror doesn't contain a
// key is a fact about the mirror only.

/// A node's verdict on a key.
public enum Verdict: Sendable, Equatable {
  /// The key was active in the mirror.
  case admit(account: String)
  /// The key wasn't active in the store after the request had arrived; with the proof.
  case refuse(RefusalReason, Proof)
  /// Nothing can be proven now. Never a reason for a refusal.
  case undecided(Undecided)
}

public enum RefusalReason: String, Sendable, CaseIterable {
  case unknownKey = "unknown_key"
  case suspendedKey = "suspended_key"
  case revokedKey = "revoked_key"
  /// The key's record is active, and Redis's clock has reached the time at which the key ends.
  case expiredKey = "expired_key"
}

/// The proof of a refusal: a read of the store's position, sent after the request had arrived. The key was looked up in
/// a complete and verified mirror that equalled the store at exactly that position.
public struct Proof: Sendable, Hashable {
  public var epoch: String
  /// The version that was read, at which the key was looked up in the mirror.
  public var version: UInt64
  /// When the read was sent.
  public var asOf: Instant
  /// The source mark that was read: everything that was committed in the source before this moment was in the store. In
  /// microseconds since 1970, by Redis's clock; nil if the store has no mark.
  public var sourceAsOf: UInt64?

  public init(epoch: String, version: UInt64, asOf: Instant, sourceAsOf: UInt64? = nil) {
    self.epoch = epoch
    self.version = version
    self.asOf = asOf
    self.sourceAsOf = sourceAsOf
  }
}

/// Why nothing can be proven now.
public enum Undecided: Sendable, Hashable {
  /// There is no connection to the store, or it answers only with errors; the reason as text.
  case storeAway(String)
  /// Redis answers, but has no store.
  case noStore
  /// The store was never sealed: its keys may be incomplete.
  case unsealed
  /// The store at the address isn't the one that this node mirrors.
  case wrongStore(WrongStore)
  /// The mirror isn't complete yet.
  case loading(verified: Int, total: Int)
  /// The store contradicts itself or the mirror; the reason as text.
  case diverged(String)
  /// The store has a schema that this build can't read; the reason as text.
  case incompatible(String)
  /// The store didn't answer the barrier's read, or the mirror didn't reach its version, within the timeout.
  case barrierTimedOut
  /// The store answered the barrier's read with an error; its text.
  case barrierFailed(String)
  /// Too few of the store's servers have confirmed that the server is their primary; the reason as text.
  case unfenced(String)
  /// Too many requests already wait for the barrier.
  case tooManyWaiting(limit: Int)
  /// The key was active in the mirror, and its record has vanished without a change that revoked or suspended it. Its
  /// bucket is being read again.
  case vanished
  /// The key is proven unknown. So are most keys that clients sent lately, so the store itself may lack keys.
  case refusalStorm(unknown: Int, admitted: Int)
  /// The key may have ended, and that can't be proven: Redis's time isn't known, or the key's record is gone.
  case expiryUnproven
  /// The source mark is older than its maximum age. Or the refusal has to be proven against the source, and no mark
  /// from after the request's arrival came within the timeout.
  case sourceStale(SourceMark)
  /// The mirror is older than the maximum age for admission.
  case stale(Duration)
  /// The node is shutting down.
  case shuttingDown

  /// A short name, for metrics and answers.
  public var code: String {
    switch self {
    case .storeAway: "store_away"
    case .noStore: "no_store"
    case .unsealed: "unsealed"
    case .wrongStore: "wrong_store"
    case .loading: "loading"
    case .diverged: "diverged"
    case .incompatible: "incompatible"
    case .barrierTimedOut: "barrier_timed_out"
    case .barrierFailed: "barrier_failed"
    case .unfenced: "unfenced"
    case .tooManyWaiting: "too_many_waiting"
    case .vanished: "vanished"
    case .refusalStorm: "refusal_storm"
    case .expiryUnproven: "expiry_unproven"
    case .sourceStale: "source_stale"
    case .stale: "stale"
    case .shuttingDown: "shutting_down"
    }
  }
}

extension Undecided {
  /// As text for people.
  public var inWords: String {
    switch self {
    case .storeAway(let why): "can't reach the key store: \(why)"
    case .noStore: "there is no key store in this Redis"
    case .unsealed: "the key store isn't sealed. If it has all keys: key-publisher seal"
    case .wrongStore(let wrong): "wrong key store: \(wrong)"
    case .loading(let verified, let total): "\(verified) of \(total) buckets are verified"
    case .diverged(let why): "mirror and key store don't agree: \(why)"
    case .incompatible(let why): why
    case .barrierTimedOut: "the key store doesn't answer in time"
    case .unfenced(let why): why
    case .barrierFailed(let why): "the key store answers with an error: \(why)"
    case .tooManyWaiting(let limit): "\(limit) requests wait for a proof"
    case .vanished: "the key was active, and its record is gone although no change suspended or revoked it"
    case .refusalStorm(let unknown, let admitted):
      "the key store may lack keys: clients recently sent \(unknown) distinct unknown keys, and \(admitted) active ones"
    case .expiryUnproven:
      "the key may have expired, but this can't be proven: Redis's time isn't known, or the key's record is gone"
    case .sourceStale(let mark): "\(mark.objection). Is key-publisher follow running?"
    case .stale(let age):
      "the mirror is \(Int(age.fractionalSeconds)) s old, more than --admit-age: all keys are answered 503 until the key "
        + "store can be read"
    case .shuttingDown: "the node is shutting down"
    }
  }
}
