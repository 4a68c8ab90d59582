// When a change is safe from a failover. One Redis alone has a change as soon as it answers. Where others could take its place,
// what it answered may be lost with it, and then a node would refuse, with a sound proof, a key whose put the publisher was told
// is done. So a change is confirmed only when whoever could take over has it.
//
// Rejected: a majority. A failover may promote a server that isn't in it, unless all the others are asked first, which Sentinel
// doesn't do: it takes the most advanced of those that it reaches. And an old primary with a third server that still follows it
// are a majority too, and confirm what is lost when both of them learn of the new one.
//
// WAIT by itself tells only who had read what this conversation wrote last; without a fresh write these may be old acknowledgements, from
// before a replica began to follow somebody else. So each confirmation begins with a small write of its own. And it counts programs that
// copy the data set, so those that have acknowledged are counted by ROLE, which says at which port each listens.

import Hiredis
import KeyReplica
public import NIOCore
public import RedisClient

/// What came of a write that replicas were to acknowledge.
public struct Acknowledgement: Sendable, Hashable {
  /// What the server called itself afterwards: `master`, or else it is no primary any more.
  public var role: String
  /// How many replicas that could be promoted have the write.
  public var acknowledged: Int
  /// How many of them followed the server afterwards.
  public var attached: Int

  public init(role: String, acknowledged: Int, attached: Int) {
    self.role = role
    self.acknowledged = acknowledged
    self.attached = attached
  }

  /// Why this doesn't show that the server is the primary and that all that could take its place have what was written to it before; nil
  /// if it does.
  /// - Parameter declared: How many replicas could take its place: ``KeyReplica/StorePosition/replicas``.
  public func objection(declared: Int) -> String? {
    if role != "master" { return "the server calls itself \(role): it isn't the primary any more" }
    // Which ones have acknowledged isn't known, only how many.
    if attached > declared {
      return "\(attached) replicas follow the primary and \(declared) are declared, so one that doesn't count may have "
        + "acknowledged; say key-publisher replicas \(attached)"
    }
    return acknowledged < declared ? "\(acknowledged) of \(declared) replicas have it (\(ReplicaSigns.remedy))" : nil
  }
}

/// What is known of a change after it was made.
public struct Confirmation: Sendable, Hashable {
  /// How many replicas could take the primary's place, as declared; 0 where it is alone, and where that can't be told.
  public var declared: Int
  /// Nobody had declared them: this call did, for as many as follow the server.
  public var declaredNow = false
  /// Nil where there is nobody to wait for.
  public var acknowledgement: Acknowledgement?
  /// Why it can't be told how many replicas could take the primary's place, and what to do; nil where it is declared, or where there
  /// is no sign of any.
  public var doubt: String?

  /// Why the change isn't confirmed; nil if it is.
  public var objection: String? { doubt ?? acknowledgement?.objection(declared: declared) }
}

/// Confirms changes.
///
/// **A change is confirmed when the primary and all declared replicas have it.** How many there are is written in the store
/// (``KeyReplica/StorePosition/replicas``), by `key-publisher replicas N`, or by the first confirmation that finds some. Where nobody has
/// declared any and there are signs of others that don't follow now (``KeyReplica/ReplicaSigns``), nothing is confirmed until somebody does. A
/// majority isn't enough: after a failover the old primary and a third server that still follows it could confirm a change that is then lost.
///
/// It is declared, and not counted each time, because a replica that has lost its primary doesn't follow it, and is the very one that may be
/// promoted.
public struct Replication: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let isWatched: Bool

  /// - Parameters:
  ///   - connection: The one that the change was made with.
  ///   - isWatched: Whether Sentinels or a cluster led to it, which are there to promote another.
  public init(connection: RedisConnection, layout: StoreLayout, isWatched: Bool = false) {
    self.connection = connection
    self.layout = layout
    self.isWatched = isWatched
  }

  /// The most replicas that can be declared.
  public static let replicaLimit = 32

  /// Whether all that was written to the store so far, by whomever, is confirmed.
  /// - Parameter limit: How long is waited for the replicas.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError`` or ``UnreadableStore``: it isn't confirmed then.
  public func confirm(within limit: TimeAmount) async throws -> Confirmation {
    let replies = try await connection.execute([
      layout.positionCommand, layout.followersCommand,
    ])
    let position: StorePosition
    switch try layout.position(from: replies[0]) {
    case .found(let found): position = found
    // There is nothing that could be lost.
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

  /// Says how many replicas could take the primary's place. It isn't a change of the store: its version stays.
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
