// Whether a Redis that nobody has declared any replicas of is alone. Only what means the same on every server counts.
//
// A server that could be promoted has followed the primary: it was online, and it listens at a port. Everybody who looks at a primary (each node
// twice a second, and each command of the publisher) sees who follows it, and writes the greatest number into the store, where it outlives the
// replica, this process and Redis. A server that was promoted unseen is known by itself: it has received what another one sent.
//
// What doesn't count: a program that copies the data set (`redis-cli --rdb`, `--replica`). While it copies it isn't online, and where it is it
// listens at no port, so nothing can be made of it that a client or a Sentinel could be led to.
//
// What a server doesn't tell isn't taken for nothing: where it can't be asked, somebody has to say how many there
// are.
//
// Rejected: the replication offset, which is 0 on a Redis 7.0 that never had a replica. Later servers count their append-only file by it,
// and any copy of the data set makes it count on all of them. The counters of synchronisations and the replication backlog were rejected because
// they don't tell a replica from a copy. A declaration in every store was rejected because most have one Redis, which can be told.

/// What there is of servers that could take the primary's place.
public struct ReplicaSigns: Sendable, Hashable {
  /// How many replicas that could be promoted follow the server now; nil where it can't be told.
  public var following: Int?
  /// The most that were ever seen to follow, as the store has it.
  public var recorded: Int
  /// Whether this server has itself followed another since it was started: it was promoted, and the other one may not
  /// know. Nil where it can't be told.
  public var hasFollowed: Bool?
  /// Whether Sentinels or a cluster lead to it, which are there to promote another.
  public var isWatched: Bool

  public init(following: Int?, recorded: Int, hasFollowed: Bool?, isWatched: Bool) {
    self.following = following
    self.recorded = recorded
    self.hasFollowed = hasFollowed
    self.isWatched = isWatched
  }

  /// Of a Redis alone.
  public static let none = ReplicaSigns(following: 0, recorded: 0, hasFollowed: false, isWatched: false)

  /// What the store should say from now on: at least what it says. The server that a promoted one followed counts as one.
  public var toRecord: Int { max(recorded, following ?? 0, hasFollowed == true ? 1 : 0) }

  /// Why the server can't be taken to be alone; nil if it can.
  public var objection: String? {
    sign.map {
      $0 + ". Say how many servers could take this Redis's place: key-publisher replicas N, with 0 if none could"
    }
  }

  /// What to do where a replica won't come back.
  public static let remedy = "where one can't be promoted any more, key-publisher replicas with the number that is left"

  /// What suggests that it isn't alone.
  private var sign: String? {
    if hasFollowed == true {
      return "this Redis was a replica and has been promoted, so the former primary may still be in use"
    }
    if let following, following > 0 {
      return "\(Self.replicas(following, "follows", "follow")) this Redis, and no number is declared"
    }
    if recorded > 0 {
      return
        "\(Self.replicas(recorded, "has", "have")) followed this Redis and none does now, so one may have been promoted"
    }
    if isWatched { return "Sentinels or a cluster would promote a replica of this Redis, and none follows it" }
    if following == nil {
      return "neither ROLE nor INFO can be used here, so it can't be told whether replicas follow this Redis"
    }
    return hasFollowed == nil ? "INFO can't be used here, so it can't be told whether this Redis was a replica" : nil
  }

  private static func replicas(_ count: Int, _ singular: String, _ plural: String) -> String {
    count == 1 ? "1 replica \(singular)" : "\(count) replicas \(plural)"
  }
}
