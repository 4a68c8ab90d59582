// Whether a Redis without declared replicas is alone. Only signs that mean the same on every server count.
//
// A server that could be promoted has followed the primary: it was online, and it listens on a port. Every reader of a
// primary (each node twice a second, and each command of the publisher) sees its replicas, and records the greatest
// number in the store. There the number outlives the replica, this process and Redis. A server that was promoted unseen
// shows that itself: it has received data from another server.
//
// A program that copies the data set (`redis-cli --rdb`, `--replica`) doesn't count. While it copies it isn't online,
// and when it is online it listens on no port, so no client or Sentinel can connect to it.
//
// An unknown value isn't treated as zero: if a server can't be asked, an operator has to declare the number.
//
// Rejected: the replication offset. It is 0 on a Redis 7.0 that never had a replica, but later servers use it for their
// append-only file, and on all of them any copy of the data set makes it grow. Also rejected: the counters of
// synchronisations and the replication backlog, because they don't distinguish a replica from a copy; and a required
// declaration in every store, because most stores have a single Redis, which can show that it is single.

/// The signs of servers that could become primary.
public struct ReplicaSigns: Sendable, Hashable {
  /// How many replicas that could be promoted follow the server now; nil if unknown.
  public var following: Int?
  /// The recorded maximum of replicas seen.
  public var recorded: Int
  /// Whether this server has itself followed another since it was started: then it was promoted, and the other one may
  /// still act as primary. Nil if unknown.
  public var hasFollowed: Bool?
  /// Whether the connection was found through Sentinels or a cluster, which may promote another server.
  public var isWatched: Bool

  public init(following: Int?, recorded: Int, hasFollowed: Bool?, isWatched: Bool) {
    self.following = following
    self.recorded = recorded
    self.hasFollowed = hasFollowed
    self.isWatched = isWatched
  }

  /// For a single Redis.
  public static let none = ReplicaSigns(following: 0, recorded: 0, hasFollowed: false, isWatched: false)

  /// The number to record in the store: at least the recorded one. If this server was promoted, the server that it had
  /// followed counts as one.
  public var toRecord: Int { max(recorded, following ?? 0, hasFollowed == true ? 1 : 0) }

  /// Why the server can't be assumed to be alone; nil if it can.
  public var objection: String? {
    sign.map { $0 + ". Declare the number of replicas of this Redis: key-publisher replicas N (0 if it has none)" }
  }

  /// The remedy if a replica won't return.
  public static let remedy = "if a replica is gone for good, declare how many remain: key-publisher replicas N"

  /// The sign that it isn't alone.
  private var sign: String? {
    if hasFollowed == true {
      return "this Redis was a replica and has been promoted, so the former primary may still be in use"
    }
    if let following, following > 0 {
      return "\(Self.replicas(following, "follows", "follow")) this Redis, but no number of replicas is declared"
    }
    if recorded > 0 {
      return
        Self.replicas(recorded, "followed this Redis and is gone, so it", "followed this Redis and are gone, so one")
        + " may have been promoted to primary"
    }
    if isWatched { return "this Redis is managed by Sentinels or a cluster, and no replica follows it" }
    if following == nil {
      return "neither ROLE nor INFO can be used here, so replicas of this Redis can't be detected"
    }
    return hasFollowed == nil ? "INFO can't be used here, so a promotion of this Redis can't be detected" : nil
  }

  private static func replicas(_ count: Int, _ singular: String, _ plural: String) -> String {
    count == 1 ? "1 replica \(singular)" : "\(count) replicas \(plural)"
  }
}
