// A server's role and its replicas.

import Hiredis
import KeyReplica
public import RedisClient

/// A server's role and its replicas.
struct ServerRole: Sendable {
  /// A replica that follows a primary and is online. Servers don't list replicas that are still receiving the data set.
  struct Follower: Sendable {
    /// 0 for a program that copies the data set: it listens on no port and can't be promoted.
    let port: Int64
    /// The last offset that it acknowledged; 0 if it never did.
    let acknowledged: Int64
  }

  /// `master`; with any other name the server isn't a primary.
  let name: String
  /// A primary's replication offset. It doesn't show whether there are replicas: see ReplicaSigns.
  let offset: Int64
  /// Nil if unknown.
  private let followers: [Follower]?

  private init(name: String, offset: Int64 = 0, followers: [Follower]?) {
    self.name = name
    self.offset = offset
    self.followers = followers
  }

  /// - Parameter reply: The reply to ROLE.
  init(_ reply: RedisReply) throws {
    let items = try reply.array()
    guard let name = try items.first?.string() else { throw UnreadableStore("expected a role, got nothing") }
    guard name == "master" else {
      self.init(name: name, followers: [])
      return
    }
    guard items.count == 3 else {
      throw UnreadableStore("expected a primary's offset and replicas, got \(items.count) items")
    }
    let followers = try items[2].array().map { reply in
      let items = try reply.array()
      guard items.count == 3, let port = Int64(try items[1].string()), let place = Int64(try items[2].string()) else {
        throw UnreadableStore("expected a replica's address, port and offset, got \(reply.shape)")
      }
      return Follower(port: port, acknowledged: place)
    }
    self.init(name: name, offset: try items[1].integer(), followers: followers)
  }

  /// - Parameter reply: The reply to INFO with the section `replication`, which contains everything that ROLE returns.
  init(info reply: RedisReply) throws {
    if case .error(let error) = reply { throw error }
    guard let fields = InfoFields(reply), let name = fields["role"] else {
      throw UnreadableStore("expected a role in INFO, got \(reply.shape)")
    }
    guard name == "master" else {
      self.init(name: String(name), followers: [])
      return
    }
    guard let offset = fields["master_repl_offset"].flatMap({ Int64($0) }), let replicas = fields.replicas else {
      throw UnreadableStore("expected a primary's offset and replicas in INFO, got less")
    }
    let followers = try replicas.filter { $0["state"] == "online" }.map { replica in
      guard let port = replica["port"].flatMap({ Int64($0) }), let place = replica["offset"].flatMap({ Int64($0) })
      else { throw UnreadableStore("expected a replica's port and offset in INFO, got less") }
      return Follower(port: port, acknowledged: place)
    }
    self.init(name: "master", offset: offset, followers: followers)
  }

  /// - Parameter hello: It doesn't contain the replicas.
  init(hello: ServerHello) throws {
    guard let role = hello.role else { throw UnreadableStore("expected a role in HELLO, got none") }
    self.init(name: role, followers: nil)
  }

  /// - Parameter reply: The reply to a write, which replicas refuse.
  init(write reply: RedisReply) throws {
    if case .error(let error) = reply {
      guard error.code == "READONLY" else { throw error }
      self.init(name: "a replica, by refusing a write", followers: nil)
    } else {
      self.init(name: "master", followers: nil)
    }
  }

  /// How many replicas that could be promoted follow it now; nil if unknown.
  var replicas: Int? { followers?.count { $0.port > 0 } }

  /// How many programs acknowledge their copies of the data set, so that WAIT counts them; 0 if unknown.
  var acknowledgingCopies: Int { followers?.count { $0.port == 0 && $0.acknowledged > 0 } ?? 0 }

  /// How many replicas that could be promoted have acknowledged writes that were made after an earlier reading.
  func acknowledged(since earlier: ServerRole) throws -> Int {
    guard let followers else {
      throw UnreadableStore(
        "neither ROLE nor INFO can be used here, and WAIT doesn't tell replicas from copies: let Redis's user run ROLE")
    }
    return followers.count { $0.port > 0 && $0.acknowledged > earlier.offset }
  }
}

/// The command that reads a server's role: the best one that this user may use. Managed services and strict ACLs forbid
/// some.
enum RoleSource: Sendable {
  case role, info
  /// Returns the role, but not the replicas.
  case hello
  /// A write: if it succeeds the server isn't a replica.
  case write

  func question(_ layout: StoreLayout) -> RedisCommand {
    switch self {
    case .role: RedisCommand("ROLE")
    case .info: RedisCommand("INFO", "replication")
    case .hello: ServerHello.question
    case .write: layout.fenceWrite
    }
  }

  func role(from reply: RedisReply) throws -> ServerRole {
    switch self {
    case .role: try ServerRole(reply)
    case .info: try ServerRole(info: reply)
    case .hello: try ServerRole(hello: try ServerHello(reply))
    case .write: try ServerRole(write: reply)
    }
  }
}

extension RedisEndpoint {
  /// Whether the server was found through Sentinels or a cluster, which may promote another server.
  public var isWatched: Bool {
    switch address {
    case .sentinels, .cluster: true
    case .tcp, .unix: false
    }
  }
}
