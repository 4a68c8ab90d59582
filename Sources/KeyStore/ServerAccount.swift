// The properties of a server, read when a connection is opened: its role, its process, whether it was a replica, and
// the command that reads its role from then on.
//
// A denied command is not a failure. ROLE and INFO replication return the same facts, HELLO returns the role only, and
// if HELLO is renamed too, a successful write shows that the server isn't a replica. A fact that no command returns
// stays unknown, and ReplicaSigns describes what an operator can declare instead.

import Hiredis
import NIOCore
import RedisClient

/// The properties of a server when the connection was opened.
struct ServerAccount: Sendable {
  let source: RoleSource
  let role: ServerRole
  /// Identifies the server process; nil if INFO can't be used.
  let runID: String?
  /// Whether it has followed another server since it was started, and received that server's data; nil if INFO can't be
  /// used.
  let hasFollowed: Bool?
  /// The denied commands and the consequences; nil if there are none.
  let shortcoming: String?

  private static let questions = [
    RedisCommand("ROLE"), RedisCommand("INFO", "server", "stats", "replication"), ServerHello.question,
  ]

  static func read(
    from connection: RedisConnection, _ layout: StoreLayout, within limit: TimeAmount
  ) -> EventLoopFuture<ServerAccount> {
    connection.send(questions, within: limit).flatMap { replies in
      let denials = replies.map { reply in if case .error(let error) = reply { error.isDenial } else { false } }
      let source: RoleSource? = !denials[0] ? .role : !denials[1] ? .info : !denials[2] ? .hello : nil
      let write =
        source == nil
        ? connection.send(layout.fenceWrite, within: limit).map(Optional.some)
        : connection.eventLoop.makeSucceededFuture(nil)
      return write.flatMapThrowing { write in
        let source = source ?? .write
        let reply = write ?? replies[source == .role ? 0 : source == .info ? 1 : 2]
        return try ServerAccount(
          source, role: source.role(from: reply), info: denials[1] ? nil : replies[1], lacksRole: denials[0])
      }
    }
  }

  private init(_ source: RoleSource, role: ServerRole, info: RedisReply?, lacksRole: Bool) throws {
    self.source = source
    self.role = role
    if case .error(let error)? = info { throw error }
    let fields = info.flatMap { InfoFields($0) }
    runID = fields?["run_id"].map(String.init)
    hasFollowed = fields.map { fields in fields["total_net_repl_input_bytes"].map { $0 != "0" } ?? false }
    let declaration = "declare the replicas: key-publisher replicas N (0 if there are none)"
    shortcoming =
      switch (lacksRole, info == nil) {
      case (false, false): nil
      case (true, false): "ROLE (INFO is used instead)"
      case (false, true):
        "INFO: Sluice can't see whether this Redis was promoted, so unknown keys are answered 503. Allow INFO, or \(declaration)"
      case (true, true):
        "ROLE and INFO: replicas can't be detected, so unknown keys are answered 503. Allow both, or \(declaration)"
      }
  }
}

extension StoreLayout {
  /// Whether two connections lead to one server, for servers that don't identify their process: one connection writes a
  /// key, and the other one reads it.
  ///
  /// Both servers have reported that they are primaries, so the key can't have arrived by replication.
  func meet(
    writing: RedisConnection, reading: RedisConnection, within limit: TimeAmount
  ) -> EventLoopFuture<Bool> {
    let key = meeting(.random(in: .min ... .max))
    let write = MeetingScript(key: key, milliseconds: 10_000).commandWithSource
    return writing.send(write, within: limit).flatMapThrowing { _ = try $0.orThrow() }
      .flatMap { reading.send(RedisCommand("EXISTS", key), within: limit) }
      .flatMapThrowing { try $0.integer() == 1 }
  }
}
