// The values that the consumer returns and accepts.

public import Hiredis
public import RedisClient

/// Envelopes that this worker has claimed, until their lease ends.
public struct ClaimedBatch: Sendable {
  /// The worker's slot with the claim.
  public let slot: Int
  /// The claim's number, unique within one start of a worker.
  public let number: Int64
  /// From this time on the lease is certainly over, by this machine's clock. It is counted from the arrival of the
  /// reply, so it is a little later than the end by Redis's clock. After it no work may begin, and nothing can be
  /// settled.
  public internal(set) var leaseEnds: ContinuousClock.Instant
  /// In the order in which to store them. Never empty.
  public let entries: [ClaimedEntry]

  /// Whether these were claimed from the list of suspects: envelopes that a worker had when it died. False if the
  /// claim is handed out again.
  public var areSuspects: Bool { entries.first?.list == QueueLayout.suspects }
}

/// One element of a claim.
public struct ClaimedEntry: Sendable {
  /// The envelope, or why the element isn't one.
  public let content: Result<Envelope, InvalidEnvelope>
  /// Earlier failures: failed attempts, and workers that died while they had it.
  public let failures: Int
  /// The number of the list that it was claimed from. Also 0 if the claim is handed out again.
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

/// The result for an entry when its claim ends.
public enum Disposition: Sendable, Equatable {
  /// The payload is stored, and the entry is removed from the queue.
  case done
  /// The entry returns to its list as the next one. That doesn't count as a failure: for example, the worker is ending.
  case putBack
  /// The payload wasn't tried, because its account has more than its share of the batch. The entry goes to the
  /// shorter of its account's own lists, behind all others there. That doesn't count as a failure.
  case setAside
  /// Storing failed, and the cause may pass. The entry returns after the delay, or becomes a dead letter if it failed too
  /// often.
  case retry(reason: String, delay: Duration)
  /// The entry returns after the delay. That doesn't count as a failure.
  case postpone(delay: Duration)
  /// The payload can never be stored: the entry becomes a dead letter.
  case dead(reason: String)
}

/// The result of ending a claim.
public enum Settlement: Sendable, Equatable {
  /// As requested. This number of entries became dead letters.
  case settled(dead: Int)
  /// The lease had ended and another worker has the envelopes now (its instance, if known). Stored payloads will be
  /// delivered again, and the sink recognises their IDs.
  case lost(to: String?)
}

/// The result of trying to claim.
public enum Claim: Sendable {
  case batch(ClaimedBatch)
  /// There is nothing to claim.
  case empty
  /// The slot has a claim of another instance with the same name.
  case held(SlotHolder)
  /// Another instance has taken over this worker's name after this one began: this one must end.
  case supplanted(by: String)
  /// No suspect was found but those of accounts that were to be passed over: how many were passed over, and how many
  /// suspects wait. Other lists weren't looked at.
  case passedOver(Int, waiting: Int)
}

/// The holder of a claim in our slot.
public struct SlotHolder: Sendable, Equatable, CustomStringConvertible {
  public let worker: WorkerName
  public let slot: Int
  /// Empty if the reaper has the claim or the list has no header.
  public let instance: String
  /// In milliseconds since 1970 by Redis's clock; 0 if there is no lease.
  public let leaseUntil: Int64

  public var description: String {
    let holder = instance.isEmpty ? "the reaper" : "another instance of that name (\(instance))"
    return "claim \(slot) of worker \"\(worker)\" is still held by \(holder). After a restart this is normal until the "
      + "claim's lease ends. If it continues, two workers have the same name: give each its own --name"
  }
}

/// The result of one search for ended leases.
public struct Reaping: Sendable, Equatable {
  /// Envelopes that were returned.
  public var putBack = 0
  /// Envelopes that became dead letters because too many workers died while they had them.
  public var dead = 0
  /// Claims that were ended.
  public var claims = 0
  /// One call couldn't process everything: call it again soon.
  public var isUnfinished = false
  /// Workers that were removed from the list.
  public var forgotten = 0
  /// Malformed Redis keys, with the reason. They were written by another program or by hand.
  public var strange: [String] = []

  public init() {}
}

/// Why Redis couldn't be asked.
public enum QueueFailure: Error, Sendable, Equatable, CustomStringConvertible {
  /// The connection to Redis is over or never began.
  case away(RedisError)
  /// Redis answered with an error.
  case refused(RedisServerError)
  /// Redis answered something unexpected.
  case unexpected(UnexpectedReply)

  public var description: String {
    switch self {
    case .away(let error): "\(error)"
    case .refused(let error): "\(error)"
    case .unexpected(let error): "\(error)"
    }
  }
}
