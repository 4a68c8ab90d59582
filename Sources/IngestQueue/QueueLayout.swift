// Every Redis key of the queue is named in this file and nowhere else.
//
// All of them share the hash tag `queue`, so they are in one slot of a Redis Cluster and one script may touch any of them. The scripts
// get the keys that are known beforehand as KEYS; the lists of claims, whose names depend on what is in Redis, they build from
// the prefix given here.

public import RedisClient

/// Where the queue keeps what.
public struct QueueLayout: Sendable, Hashable {
  public let namespace: Namespace

  public init(namespace: Namespace = .standard) { self.namespace = namespace }

  /// List of envelopes that nobody works on. Pushed on the left, taken from the right.
  public var pending: String { namespace.key("queue", "pending") }

  /// Sorted set of envelopes that failed and are tried again later; the score is when, in milliseconds since 1970.
  public var later: String { namespace.key("queue", "later") }

  /// List of dead letters, the newest on the left: one line of JSON, a newline, the whole envelope. Never trimmed.
  public var dead: String { namespace.key("queue", "dead") }

  /// Hash from envelope id to what went wrong with it so far, as JSON: `{"attempts":1,"deaths":0,"first_at":…}`. Has only
  /// envelopes that failed and aren't through.
  public var failures: String { namespace.key("queue", "failures") }

  /// Hash from worker name to who goes by that name, as JSON: `{"instance":"…","seen_at":…}`.
  public var workers: String { namespace.key("queue", "workers") }

  /// What the name of every claim begins with.
  public var claimPrefix: String { namespace.key("queue", "claim:") }

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
    guard Namespace(name) != nil else { return nil }
    description = name
  }
}
