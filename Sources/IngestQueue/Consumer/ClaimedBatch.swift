// What the consumer hands out and takes back, as values.

public import Hiredis
public import RedisClient

/// Envelopes that are this worker's until their lease ends.
public struct ClaimedBatch: Sendable {
  /// The worker's slot that they are in.
  public let slot: Int
  /// The claim's number, unique within one life of a worker.
  public let number: Int64
  /// From this moment on the lease is over for sure, by this machine's clock. It is counted from when the answer came, so it
  /// is a little later than what Redis says; nothing may be started then, and nothing more can be settled.
  public internal(set) var leaseEnds: ContinuousClock.Instant
  /// In the order in which they are to be stored. Never empty.
  public let entries: [ClaimedEntry]
}

/// One element of a claim.
public struct ClaimedEntry: Sendable {
  /// The envelope, or why the element isn't one.
  public let content: Result<Envelope, InvalidEnvelope>
  /// How often it was tried before, the workers that died over it included.
  public let failures: Int
  /// In which list it was; 0 also where the claim is handed out again.
  public let list: Int

  /// Whether it belongs in one of its account's own lists.
  var isLarge: Bool {
    if case .success(let envelope) = content {
      envelope.payload.count > AccountShuffleShard.largePayload
    } else {
      false
    }
  }
}

/// What becomes of an entry when its claim ends.
public enum Disposition: Sendable, Equatable {
  /// It is stored: gone from the queue.
  case done
  /// It goes back to where it was, next to be taken, and nothing is held against it: the worker is ending, say.
  case putBack
  /// It wasn't tried, because its account has more waiting than its share: it goes to one of the lists that its account has, so that what others have
  /// sent comes first. Nothing is held against it.
  case setAside
  /// It failed in a way that may pass. It comes back after the delay, or is a dead letter if it failed too often.
  case retry(reason: String, delay: Duration)
  /// It comes back after the delay, and nothing is held against it.
  case postpone(delay: Duration)
  /// It can't be stored, however often one tries: a dead letter.
  case dead(reason: String)
}

/// How the end of a claim went.
public enum Settlement: Sendable, Equatable {
  /// As it was said; so many became dead letters.
  case settled(dead: Int)
  /// The lease had ended and others have the envelopes now (whose instance it is, where that is known): what was stored
  /// will come again, and the sink knows it by its id.
  case lost(to: String?)
}

/// What came of a try to claim.
public enum Claim: Sendable {
  case batch(ClaimedBatch)
  /// There is nothing to do.
  case empty
  /// The slot has a claim of another instance that goes by the same name.
  case held(SlotHolder)
  /// Another instance has taken this worker's name over after this one began: this one must end.
  case supplanted(by: String)
}

/// Who has a claim in our slot.
public struct SlotHolder: Sendable, Equatable, CustomStringConvertible {
  public let worker: WorkerName
  public let slot: Int
  /// Empty where the reaper has the claim or the list has no header.
  public let instance: String
  /// In milliseconds since 1970 by Redis's clock; 0 where there is no lease.
  public let leaseUntil: Int64

  public var description: String {
    "slot \(slot) of worker \"\(worker)\" is held by another instance (\(instance)): either this worker was restarted and its "
      + "earlier life's lease hasn't ended yet, or two workers run under the same name"
  }
}

/// What a look for ended leases did.
public struct Reaping: Sendable, Equatable {
  /// Envelopes that were put back.
  public var putBack = 0
  /// Envelopes that became dead letters because too many workers died over them.
  public var dead = 0
  /// Claims that were ended.
  public var claims = 0
  /// There was more to do than may be done at once: look again soon.
  public var isUnfinished = false
  /// Workers that were taken off the list.
  public var forgotten = 0
  /// Keys that aren't as they should be, with what is wrong; another hand than ours must have been there.
  public var strange: [String] = []

  public init() {}
}

/// Why the queue couldn't be asked.
public enum QueueFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// The conversation with Redis is over or never began.
  case away(RedisError)
  /// Redis said no.
  case refused(RedisServerError)
  /// Redis said something that makes no sense here.
  case unexpected(UnexpectedReply)

  public var description: String {
    switch self {
    case .away(let error): "\(error)"
    case .refused(let error): "\(error)"
    case .unexpected(let error): "\(error)"
    }
  }
}
