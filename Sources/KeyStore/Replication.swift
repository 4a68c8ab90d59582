// When a change is safe from a failover. A single Redis has a change as soon as it answers. If other servers could
// become primary, a confirmed change may be lost with the old primary. Then a node would refuse, with a valid proof, a
// key whose put was reported as done. So a change is confirmed only when every server that could become primary has it.
//
// Rejected: a majority. A failover may promote a server outside of that majority, unless all other servers are asked
// first. Sentinel doesn't do that: it promotes the most advanced of the servers that it reaches. And an old primary
// with a third server that still follows it are a majority too: they would confirm changes that are lost when both
// follow the new primary.
//
// WAIT alone returns only how many replicas had read this connection's last write. Without a fresh write these may be
// old acknowledgements, from before a replica began to follow another server. So each confirmation begins with a small
// write. WAIT also counts programs that copy the data set, so the acknowledging replicas are counted by ROLE, which
// returns the port of each.

import Hiredis
import KeyReplica
public import NIOCore
public import RedisClient

/// The result of a write that replicas should acknowledge.
public struct Acknowledgement: Sendable, Hashable {
  /// The server's role afterwards. Any value except `master` means that it is no longer primary.
  public var role: String
  /// How many replicas that could be promoted have the write.
  public var acknowledged: Int
  /// How many replicas that could be promoted followed the server afterwards.
  public var attached: Int

  public init(role: String, acknowledged: Int, attached: Int) {
    self.role = role
    self.acknowledged = acknowledged
    self.attached = attached
  }

  /// Why this doesn't prove that the server is the primary and that all servers that could replace it have the earlier
  /// writes; nil if it does.
  /// - Parameter declared: How many replicas could become primary: ``KeyReplica/StorePosition/replicas``.
  public func objection(declared: Int) -> String? {
    if role != "master" { return "the server calls itself \(role): it isn't the primary any more" }
    // Only the number of acknowledgements is known, not which replicas sent them.
    if attached > declared {
      return "\(attached) replicas follow the primary, but \(declared) \(declared == 1 ? "is" : "are") declared, so "
        + "it is unknown whether the declared ones have the change: run key-publisher replicas \(attached)"
    }
    return acknowledged < declared
      ? "\(acknowledged) of \(declared) declared replicas have the change (\(ReplicaSigns.remedy))" : nil
  }
}

/// To what extent a change is confirmed.
public struct Confirmation: Sendable, Hashable {
  /// How many replicas could become primary, as declared; 0 for a single Redis, and if the number is unknown.
  public var declared: Int
  /// Whether this call declared the number, as that of the present replicas, because none was declared.
  public var declaredNow = false
  /// Nil if there is no replica to wait for.
  public var acknowledgement: Acknowledgement?
  /// Why the number of replicas that could become primary is unknown, and what to do. nil if the number is declared, or
  /// if there is no sign of replicas.
  public var doubt: String?

  /// Why the change isn't confirmed; nil if it is.
  public var objection: String? { doubt ?? acknowledgement?.objection(declared: declared) }
}

/// Confirms changes.
///
/// **A change is confirmed when the primary and all declared replicas have it.** Their number is in the store
/// (``KeyReplica/StorePosition/replicas``), written by `key-publisher replicas N`, or by the first confirmation that
/// finds replicas. If none is declared and there are signs of replicas that don't follow now
/// (``KeyReplica/ReplicaSigns``), nothing is confirmed until an operator declares the number. A majority isn't enough:
/// after a failover the old primary and a third server that still follows it could confirm a change that is then lost.
///
/// The number is declared, and not counted each time, because a replica that has lost its primary isn't counted, and
/// may be the one that is promoted.
public struct Replication: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let isWatched: Bool

  /// - Parameters:
  ///   - connection: The connection that made the change.
  ///   - isWatched: Whether the connection was found through Sentinels or a cluster, which may promote another server.
  public init(connection: RedisConnection, layout: StoreLayout, isWatched: Bool = false) {
    self.connection = connection
    self.layout = layout
    self.isWatched = isWatched
  }

  /// Maximum of the declared number.
  public static let replicaLimit = 32

  /// Whether all changes so far, by any publisher, are confirmed.
  /// - Parameter limit: Maximum wait for the replicas.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError`` or ``UnreadableStore``: the changes aren't
  ///   confirmed then.
  public func confirm(within limit: TimeAmount) async throws -> Confirmation {
    let replies = try await connection.execute([
      layout.positionCommand, layout.followersCommand,
    ])
    let position: StorePosition
    switch try layout.position(from: replies[0]) {
    case .found(let found): position = found
    // There is no store, so nothing can be lost.
    case .noStore: return Confirmation(declared: 0)
    case .incompatible(let why): throw UnreadableStore(why)
    }
    let server = try await ServerAccount.read(from: connection, layout, within: limit + .seconds(2)).get()
    let signs = ReplicaSigns(
      following: server.role.replicas, recorded: try StoreLayout.followers(from: replies[1]),
      hasFollowed: server.hasFollowed, isWatched: isWatched)
    if signs.toRecord > signs.recorded {
      _ = try await connection.execute(layout.recordCommand(followers: signs.toRecord)).orThrow()
    }
    var confirmation = Confirmation(declared: position.replicas ?? 0)
    if position.replicas == nil {
      guard let following = signs.following, following > 0, following == signs.toRecord, signs.hasFollowed == false
      else {
        confirmation.doubt = signs.objection
        return confirmation
      }
      try await declare(replicas: following)
      confirmation.declared = following
      confirmation.declaredNow = true
    }
    guard confirmation.declared > 0 else { return confirmation }
    let source = server.source
    let fence = layout.fenceCommands(
      acknowledgedBy: confirmation.declared, besides: server.role.acknowledgingCopies, within: limit, source)
    let answers = try await connection.send(fence + [source.question(layout)], within: limit + .seconds(2)).get()
    let role = try source.role(from: answers[3])
    confirmation.acknowledgement = Acknowledgement(
      role: role.name, acknowledged: try StoreLayout.confirmations(from: answers[..<3], then: role, source),
      attached: role.replicas ?? 0)
    return confirmation
  }

  /// Declares how many replicas could become primary. This isn't a change of the store, so its version stays.
  /// - Parameter replicas: 0 to ``replicaLimit``.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError``, or ``InvalidEdit`` for another number.
  public func declare(replicas: Int) async throws {
    guard (0...Self.replicaLimit).contains(replicas) else {
      throw InvalidEdit(description: "expected 0 to \(Self.replicaLimit) replicas, got \(replicas)")
    }
    let script = ReplicasScript(layout: layout, replicas: replicas)
    try script.read(await connection.execute(script))
  }
}
