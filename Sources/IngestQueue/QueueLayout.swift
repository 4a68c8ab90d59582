// Every Redis key of the queue is named in this file and nowhere else.
//
// The queue is made of shards that know nothing of each other. All keys of a shard share a hash tag, so they are in one slot of a
// Redis Cluster and one script may touch any of them. The scripts get the keys that are known beforehand as KEYS; the lists of
// claims, whose names depend on what is in Redis, they build from the prefix given here.

public import RedisClient

/// Where a shard of the queue keeps what.
public struct QueueLayout: Sendable, Hashable {
  public let namespace: Namespace
  /// Which shard, from 0.
  public let shard: Int

  public init(namespace: Namespace = .standard, shard: Int = 0) {
    precondition(shard >= 0, "shards are counted from 0")
    self.namespace = namespace
    self.shard = shard
  }

  private func key(_ rest: String) -> String { namespace.key("queue-\(shard)", rest) }

  /// One of the lists of envelopes that nobody works on. Pushed on the left, taken from the right.
  ///
  /// List 0 takes everybody's as long as it is short. Beyond that each account has two of the next ``ownLists``, so
  /// that one account's flood is in the way of few. The last list is ``suspects``.
  public func pending(_ list: Int) -> String {
    precondition((0..<Self.lists).contains(list), "there is no list \(list)")
    return key("pending:\(list)")
  }

  /// All lists of envelopes that nobody works on, list 0 first.
  public var pending: [String] { (0..<Self.lists).map { pending($0) } }

  /// Lists that accounts share, each account two of them. A constant and not an option: a worker with fewer would leave
  /// some lists alone.
  public static let ownLists = 16

  /// The number of the list of suspects: envelopes that were in the hands of a worker that died. Nobody pushes to it.
  /// In a list of others' they would be in front of these, and wait for the one lane that may take them.
  public static let suspects = 1 + ownLists

  /// All of these.
  public static let lists = 1 + ownLists + 1

  /// The numbers of the two lists that an account has beside list 0, and shares with some others.
  public static func ownLists(of account: String) -> [Int] {
    let hand = AccountShuffleShard(account: account)
    return [hand.first, hand.second]
  }

  /// Sorted set of envelopes that failed and are tried again later. The score is when, in milliseconds since 1970, by
  /// Redis's clock without its steps; see ``stats``.
  public var later: String { key("later") }

  /// Stream of dead letters, the newest last: why in fields of their own, and the whole envelope in the last one. Never
  /// trimmed. A stream, because an entry's name stays its own whatever comes and goes around it: so any number can be
  /// gone through in small steps, and one from the middle taken out at once.
  public var dead: String { key("dead") }

  /// Sorted set of how many bytes of dead letters each account has, and all have together; see ``DeadLetterBytes``.
  public var deadBytes: String { key("dead-bytes") }

  /// Hash of how many bytes of envelopes are in each pending list, by its number, and in `later`; see `QueueBytes`.
  public var bytes: String { key("bytes") }

  /// Hash from envelope id to what went wrong with it so far, as JSON: `{"attempts":1,"deaths":0,"first_at":…}`. Has only
  /// envelopes that failed and aren't through.
  public var failures: String { key("failures") }

  /// Hash from worker name to who goes by that name, as JSON: `{"instance":"…","seen_at":…}`.
  public var workers: String { key("workers") }

  /// Hash of what has left the shard, counted since it began: `done`, and of the dead letters `requeued` and `discarded`.
  /// Its field `clock` has three times of Redis's clock in milliseconds: when it was last read, how far the clock of
  /// ``later`` is behind it, and when it last made a step.
  public var stats: String { key("stats") }

  /// A name under which nothing is ever stored. It stands for the slot of a Redis Cluster that all keys of the shard are in; see
  /// ``QueueShard/client(options:backoff:on:logger:)``.
  public var slot: String { key("slot") }

  /// What the name of every claim begins with.
  public var claimPrefix: String { key("claim:") }

  /// List of what a worker has claimed into one of its slots: a line of JSON that says whose it is and until when, then
  /// the envelopes in the order in which they were taken.
  /// - Parameters:
  ///   - worker: A valid name, see ``WorkerName``.
  ///   - slot: From 0 to ``slots`` - 1.
  public func claim(worker: WorkerName, slot: Int) -> String { "\(claimPrefix)\(worker):\(slot)" }

  /// How many slots a worker has. The reaper looks at each of them, so it is a constant and not an option: a worker with more
  /// would have slots that an older reaper doesn't know.
  public static let slots = 16
}

/// What a worker is called: 1 to 64 letters, digits, `-`, `_` or `.`, so that it can stand in a Redis key and in JSON as it is.
public struct WorkerName: Sendable, Hashable, CustomStringConvertible {
  public let description: String

  /// Nil for any other text.
  public init?(_ name: String) {
    // The namespace's rule, for the same reason.
    guard Namespace.isPlain(name) else { return nil }
    description = name
  }
}
