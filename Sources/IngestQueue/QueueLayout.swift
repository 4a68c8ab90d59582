// Every Redis key of the queue is named in this file and nowhere else.
//
// The queue consists of shards that are independent of each other. All keys of a shard share a hash tag, so they are in
// one slot of a Redis Cluster and one script may use any of them. Scripts get the keys that are known beforehand as
// KEYS. The names of claims depend on data in Redis, so scripts build them from the prefix defined here.

public import RedisClient

/// The Redis keys of a shard of the queue.
public struct QueueLayout: Sendable, Hashable {
  public let namespace: Namespace
  /// The shard's number, from 0.
  public let shard: Int

  public init(namespace: Namespace = .standard, shard: Int = 0) {
    precondition(shard >= 0, "shards are counted from 0")
    self.namespace = namespace
    self.shard = shard
  }

  private func key(_ rest: String) -> String { namespace.key("queue-\(shard)", rest) }

  /// One of the lists of unclaimed envelopes. Pushed on the left, claimed from the right.
  ///
  /// All payloads go to list 0 as long as it is short. Otherwise each account uses two of the next ``ownLists`` lists,
  /// so that one account's flood delays few others. The last list is ``suspects``.
  public func pending(_ list: Int) -> String {
    precondition((0..<Self.lists).contains(list), "there is no list \(list)")
    return key("pending:\(list)")
  }

  /// All lists of unclaimed envelopes, list 0 first.
  public var pending: [String] { (0..<Self.lists).map { pending($0) } }

  /// Lists that accounts share; each account uses two of them. A constant and not an option: a worker with a lower
  /// number would never claim from some lists.
  public static let ownLists = 16

  /// The number of the list of suspects: envelopes that a worker had when it died. Producers don't push to it. In a
  /// list with other envelopes they would be in front of them, and all of these would wait for the one lane that may
  /// claim suspects.
  public static let suspects = 1 + ownLists

  /// The number of all lists.
  public static let lists = 1 + ownLists + 1

  /// The numbers of the two lists that an account uses besides list 0. Some other accounts use them too.
  public static func ownLists(of account: String) -> [Int] {
    let hand = AccountShuffleShard(account: account)
    return [hand.first, hand.second]
  }

  /// Sorted set of envelopes that failed and wait for a retry. The score is the time of the retry, in milliseconds
  /// since 1970, by Redis's clock corrected for steps; see ``stats``.
  public var later: String { key("later") }

  /// Sorted set of the bytes in ``later`` of each account; see ``AccountQuota``.
  public var laterBytes: String { key("later-bytes") }

  /// Stream of dead letters, the newest last: the reason and other facts in fields of their own, and the whole envelope
  /// in the last one. Never trimmed. It is a stream because an entry's ID never changes, whatever is added or removed
  /// around it. So any number of entries can be processed in small steps, and removing one from the middle is cheap.
  public var dead: String { key("dead") }

  /// Sorted set of the bytes of dead letters of each account, and of all together; see `DeadLetterBytes.swift`.
  public var deadBytes: String { key("dead-bytes") }

  /// Hash of the bytes of envelopes in each pending list, by the list's number, and in `later`; see `QueueBytes`.
  public var bytes: String { key("bytes") }

  /// Hash from envelope ID to its failures so far, as JSON: `{"attempts":1,"deaths":0,"first_at":…}`. Only for
  /// envelopes that failed and aren't finished.
  public var failures: String { key("failures") }

  /// Hash from worker name to the instance with that name, as JSON: `{"instance":"…","seen_at":…}`.
  public var workers: String { key("workers") }

  /// Hash of counters since the shard began: `done` (envelopes that have left it), and the dead letters `requeued` and
  /// `discarded`. Its field `clock` has three times in milliseconds: when Redis's clock was last read, how far the
  /// clock of ``later`` is behind it, and when Redis's clock last made a step.
  public var stats: String { key("stats") }

  /// A key under which nothing is ever stored. It is in the Redis Cluster slot of all keys of the shard; see
  /// ``QueueShard/client(options:backoff:on:logger:)``.
  public var slot: String { key("slot") }

  /// The beginning of every claim's name.
  public var claimPrefix: String { key("claim:") }

  /// List of the envelopes that a worker has claimed into one of its slots: a line of JSON with the owner and the end
  /// of the lease, then the envelopes in the order in which they were claimed.
  /// - Parameters:
  ///   - worker: A valid name, see ``WorkerName``.
  ///   - slot: From 0 to ``slots`` - 1.
  public func claim(worker: WorkerName, slot: Int) -> String { "\(claimPrefix)\(worker):\(slot)" }

  /// Number of slots of a worker. The reaper checks each slot, so the number is a constant and not an option: an older
  /// reaper would miss the slots of a worker with more.
  public static let slots = 16
}

/// A worker's name: 1 to 64 letters, digits, `-`, `_` or `.`, so that it can be in a Redis key and in JSON without
/// escaping.
public struct WorkerName: Sendable, Hashable, CustomStringConvertible {
  public let description: String

  /// Nil for any other text.
  public init?(_ name: String) {
    // The same rule as for a namespace, for the same reason.
    guard Namespace.isPlain(name) else { return nil }
    description = name
  }
}
