// Ties an outbox to one store, and gives it to one session at a time.
//
// A follower deletes a change from the outbox once the change is in its store. If two followers with different stores
// use one outbox, each of them takes changes that the other one needs. Each would mark its store as equal to the source
// although it lacks changes. The lease doesn't prevent that: it is in the store, so each follower has one of its own.
//
// So a table beside the outbox has one row with two things:
//
// - The store's ID and name. A session of another store ends with an error, before it reads a list or changes a key. A
//   store that replaces the tied one (key-publisher adopt) gets the outbox, and so does a store to which an operator
//   moves it (--move-outbox). A new outbox is tied after the first comparison, so a store that the comparison's guard
//   has kept from the source is never tied.
// - A random number of the session that claimed the outbox last. A session claims it before its first comparison. It
//   marks the store only after a read of the outbox whose snapshot has its own number, and it deletes changes only in a
//   statement that finds its own number. So no other session deleted changes between its comparison and that read.
//
// The ID alone isn't enough: a copy of a store has the same ID, and an outbox that was moved may still be read by the
// former store's follower. The session's number alone would be safe, but two followers would take the outbox from each
// other for ever, and nobody would be told why.
//
// Rejected: an advisory lock, which ends with its connection, doesn't work through PgBouncer in transaction mode, and
// doesn't stop two followers at different times. Rejected: a comment on the outbox, which only its owner can write.

import Bytes
import KeyReplica
import KeyStore
import RedisClient

/// A session's claim on the outbox. Used by one task.
struct OutboxClaim: Sendable {
  /// The session's random number, as 32 hexadecimal digits.
  let session = UInt128.random(in: 0...UInt128.max).hexDigits()
  private let table: FollowedTable
  private let database: SourceDatabase
  private let connection: RedisConnection
  private let layout: StoreLayout
  /// Whether this session has tied the outbox to its store.
  private var isBound = false

  /// Another session has the outbox.
  struct Lost: Error, Sendable, CustomStringConvertible {
    let outbox: String
    var description: String {
      "the outbox \(outbox) was claimed by another session, or the store was replaced. If this message is repeated, "
        + "two followers use the outbox for two stores, such as a store and its copy: give each store its own --outbox"
    }
  }

  /// Claims the outbox.
  /// - Throws: ``CannotFollow`` if the outbox is tied to another store.
  init(
    of table: FollowedTable, in database: SourceDatabase, for connection: RedisConnection, _ layout: StoreLayout
  ) async throws {
    (self.table, self.database, self.connection, self.layout) = (table, database, connection, layout)
    let position = try await connection.followedPosition(layout)
    guard try await database.run(table.claim, texts: parameters(position)).isEmpty else { return }
    guard let row = try await database.run([table.tiedStore]).first, row.count == 2, let id = row[0] else {
      throw Self.noRow(table)
    }
    let name = row[1].flatMap { $0.isEmpty ? nil : $0 }
    throw CannotFollow(
      description: Self.refusal(
        outbox: table.outbox, tiedTo: StoreIdentity(id: id, name: name), found: position?.store))
  }

  /// Checks that the outbox was this session's when the changes were read.
  /// - Throws: ``Lost``
  func requireHolds(_ batch: OutboxBatch) throws {
    guard batch.session == session else { throw Lost(outbox: table.outbox) }
  }

  /// Ties the outbox to the store, once in a session.
  /// - Throws: ``Lost``
  mutating func bind() async throws {
    guard !isBound, let position = try await connection.followedPosition(layout) else { return }
    let bound = try await database.run(table.bind, texts: parameters(position))
    guard !bound.isEmpty else { throw Lost(outbox: table.outbox) }
    isBound = true
  }

  /// Ties an outbox to the store at the address, whatever store it was tied to.
  /// - Returns: The store.
  static func move(
    _ table: FollowedTable, in database: SourceDatabase, to connection: RedisConnection, _ layout: StoreLayout
  ) async throws -> StoreIdentity {
    guard let position = try await connection.followedPosition(layout) else {
      throw CannotFollow(
        description: "there is no key store at this address: create it first (key-publisher create --name NAME)")
    }
    let texts = [position.store.id, position.store.name ?? ""]
    guard try await !database.run(table.move, texts: texts).isEmpty else { throw noRow(table) }
    return position.store
  }

  /// The parameters of ``FollowedTable/claim`` and ``FollowedTable/bind``.
  private func parameters(_ position: StorePosition?) -> [String] {
    let replaced = position?.adopted.joined(separator: " ") ?? ""
    return [session, position?.store.id ?? "", position?.store.name ?? "", replaced]
  }

  private static func noRow(_ table: FollowedTable) -> CannotFollow {
    CannotFollow(description: "the table \(table.tie) has lost its row: run the same command with --install")
  }

  /// Why a session doesn't get the outbox.
  static func refusal(outbox: String, tiedTo tied: StoreIdentity, found: StoreIdentity?) -> String {
    let remedy: String =
      if let found {
        "expected that store at this address, found \(found). Nothing was changed. If the address is wrong, correct "
          + "it. To fill this store beside the other one, give it its own --outbox. If it replaces the other one, "
          + "run on it: key-publisher adopt \(tied.id)."
      } else {
        "expected that store at this address, found no store. Nothing was changed. If the address is wrong, correct "
          + "it. If that store is lost, run here: key-publisher create --name \(tied.name ?? "NAME"), and then "
          + "key-publisher adopt \(tied.id)."
      }
    return "the outbox \(outbox) is tied to the store \(tied): \(remedy) If the outbox was tied to the wrong store, "
      + "run the same command once with --move-outbox"
  }
}
