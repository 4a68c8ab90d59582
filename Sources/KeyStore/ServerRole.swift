// What a server says of itself and of who follows it, read from ROLE and INFO; and the signs of others that come of it.

import Hiredis
import KeyReplica
public import RedisClient

/// What a server says of itself.
struct ServerRole: Sendable {
  /// Of those that follow a primary and are online: ROLE leaves out who is still being sent the data set.
  struct Follower: Sendable {
    /// 0 where it listens at none: a program that copies the data set, of which no server can be made.
    let port: Int64
    /// The offset that it has acknowledged last; 0 if it never did.
    let acknowledged: Int64
  }

  /// `master`, `slave` or `sentinel`.
  let name: String
  /// A primary's own place in what it sends to replicas. It says nothing of whether there are any: see ReplicaSigns.
  let offset: Int64
  private let followers: [Follower]

  /// - Parameter reply: To ROLE.
  init(_ reply: RedisReply) throws {
    let items = try reply.array()
    guard let name = try items.first?.string() else { throw UnreadableStore("expected a role, got nothing") }
    self.name = name
    guard name == "master" else {
      (offset, followers) = (0, [])
      return
    }
    guard items.count == 3 else {
      throw UnreadableStore("expected a primary's offset and replicas, got \(items.count) items")
    }
    offset = try items[1].integer()
    followers = try items[2].array().map { reply in
      let items = try reply.array()
      guard items.count == 3, let port = Int64(try items[1].string()), let place = Int64(try items[2].string()) else {
        throw UnreadableStore("expected a replica's address, port and offset, got \(reply.shape)")
      }
      return Follower(port: port, acknowledged: place)
    }
  }

  /// How many replicas that could be promoted follow it now.
  var replicas: Int { followers.count { $0.port > 0 } }

  /// How many programs acknowledge what they copy, so that WAIT counts them.
  var acknowledgingCopies: Int { followers.count { $0.port == 0 && $0.acknowledged > 0 } }

  /// How many replicas that could be promoted have acknowledged something that was written after an earlier look.
  func acknowledged(since earlier: ServerRole) -> Int {
    followers.count { $0.port > 0 && $0.acknowledged > earlier.offset }
  }
}

extension RedisReply {
  /// Of a reply to INFO that has the section `stats`: whether the server has followed another since it was started, whose data it has
  /// received then.
  func hasFollowed() throws -> Bool {
    let name = "total_net_repl_input_bytes:"
    let line = try string().split(whereSeparator: \.isNewline).first { $0.hasPrefix(name) }
    return line.map { $0.dropFirst(name.count) != "0" } ?? false
  }
}

extension RedisEndpoint {
  /// Whether Sentinels lead to the server, which are there to promote another.
  public var isWatched: Bool { if case .sentinels = address { true } else { false } }
}
