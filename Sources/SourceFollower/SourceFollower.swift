// Keeps a key store equal to a source, the customers' own database, and marks the store with the moment up to which the
// two are equal (see SourceMark).
//
// A follower works in sessions. A session has one connection to Redis, the lease, and connections to the source. Every
// error ends the session, and the next session begins with a comparison of everything. So no state of a session has to
// outlive an error, and one procedure covers a restored store, a failover of the source and a killed follower.
//
// Only one follower is active at a time. It holds the lease for applying lists, so `import` and `sync` wait for it as
// well, and every script that writes checks the lease in the same step. Other followers wait for the lease, and take
// over. The lease is in the store. So that followers of different stores don't share an outbox, the outbox says which
// store and which session have it (see OutboxClaim).

public import KeyStore
public import Logging
public import RedisClient

/// The source of a follower.
public enum FollowedSource: Sendable {
  /// A table with a trigger that records each change in an outbox.
  case table(SourceAddress, FollowedTable)
  /// A query that is run at each interval.
  case query(SourceAddress, FollowedQuery, every: Duration)
  /// A command that prints the whole list. It is run at each interval, and killed after a time limit.
  case command(String, every: Duration, within: Duration)
}

/// The options of a follower.
public struct FollowOptions: Sendable {
  /// The time between comparisons of everything, for a table.
  public var compareEvery: Duration = .seconds(3_600)
  /// The time between marks while nothing changes.
  public var markEvery: Duration = .seconds(1)
  /// The limit of a comparison's guard, in percent of the active keys.
  public var maxRevoked: Double = 5
  /// Maximum wait for declared replicas to confirm changes.
  public var confirmWait: Duration = .seconds(5)
  /// Whether the primary is found through Sentinels or a cluster, which may promote another server.
  public var isWatched = false
  /// The name that the store must have. A store without a name gets it; nil accepts any store.
  public var storeName: String?
  /// Shown to publishers and followers that wait for the lease.
  public var name: String
  /// The time limit of each statement that reads the whole list.
  public var listDeadline: Duration = .seconds(600)

  public init(name: String) { self.name = name }
}

/// A follower can't start, and a later start would fail as well.
public struct CannotFollow: Error, Sendable, CustomStringConvertible {
  public let description: String
}

/// Ends a follower that has made the store equal to the source: another session would fail with the same error.
public struct EndOfFollowing: Error, Sendable, CustomStringConvertible {
  public let description: String
  public let cause: any Error

  public init(_ description: String, cause: any Error) {
    self.description = description
    self.cause = cause
  }
}

/// Follows a source.
public struct SourceFollower: Sendable {
  private let source: FollowedSource
  private let layout: StoreLayout
  private let options: FollowOptions
  private let notes: FollowNotes
  private let connect: @Sendable () async throws -> RedisConnection
  private let afterComparison: @Sendable (RedisConnection) async throws -> Int

  /// The consequence of a problem, to follow a conjunction in a sentence.
  static let consequence =
    "the source mark isn't renewed. Beyond its maximum age (key-publisher source) unknown keys are answered 503"

  private static let backoff = (first: Duration.milliseconds(250), most: Duration.seconds(10))

  /// - Parameters:
  ///   - connect: Connects to Redis.
  ///   - afterComparison: Called in each session after its first comparison, when the store is equal to the source. It
  ///     returns how many versions it added to the store. If it throws ``EndOfFollowing`` the follower ends; another
  ///     error ends only the session.
  public init(
    _ source: FollowedSource, into layout: StoreLayout, options: FollowOptions, logger: Logger,
    connect: @escaping @Sendable () async throws -> RedisConnection,
    afterComparison: @escaping @Sendable (RedisConnection) async throws -> Int = { _ in 0 }
  ) {
    (self.source, self.layout, self.options) = (source, layout, options)
    notes = FollowNotes(logger)
    (self.connect, self.afterComparison) = (connect, afterComparison)
  }

  /// Follows the source until the task is cancelled.
  /// - Throws: An error that a later start would meet as well, such as ``CannotFollow`` or a right that Redis denies.
  ///   Once the store has been equal to the source, only ``EndOfFollowing`` is thrown: other errors are logged, and another
  ///   session follows.
  public func run() async throws {
    var former: ListLease?
    var failures = 0
    var hasFollowed = false
    while !Task.isCancelled {
      let session = FollowSession(source, layout, options, notes, afterComparison)
      do {
        let connection = try await connect()
        defer { connection.close() }
        let lease = try await takeLease(connection, succeeding: former)
        former = lease
        do {
          try await session.follow(connection, lease)
        } catch {
          await lease.release()
          throw error
        }
      } catch is CancellationError {
        return
      } catch let end as EndOfFollowing {
        throw end
      } catch let error as StoreWentBack {
        notes.notice("\(error)")
        (failures, hasFollowed) = (0, true)
      } catch {
        if Task.isCancelled { return }
        if session.hasFollowed { (failures, hasFollowed) = (0, true) }
        if !hasFollowed, isFinal(error) { throw error }
        failures += 1
        notes.problem(
          .session, "not following the source: \(error). Until this is over, \(Self.consequence)")
        let step = min(Self.backoff.first * (1 << min(failures - 1, 10)), Self.backoff.most)
        do { try await Task.sleep(for: step) } catch { return }
      }
    }
  }

  private func takeLease(_ connection: RedisConnection, succeeding former: ListLease?) async throws -> ListLease {
    try await ListLease.take(
      connection, layout, as: options.name, within: .seconds(10 * 365 * 86_400), succeeding: former
    ) { holder in
      notes.notice("standing by: the store is written by \(holder.name), since \(holder.sinceText)")
    }
  }

  /// Whether another start would fail with the same error.
  private func isFinal(_ error: any Error) -> Bool {
    switch error {
    case is CannotFollow, is FollowedTable.Invalid, is OtherStoreName: true
    case let error as SourceDatabase.Failure: error.isOfStatement
    default: RedisRefusal.isFinal(error)
    }
  }

  /// Creates the trigger and the outbox of a table.
  /// - Parameter first: As for ``FollowedTable/installation(first:)``.
  public static func install(_ table: FollowedTable, at address: SourceAddress, first: UInt64) async throws {
    let database = SourceDatabase(address, deadline: .seconds(60))
    do {
      try await database.run(table.installation(first: first))
    } catch let failure as SourceDatabase.Failure {
      throw CannotFollow(description: "the trigger wasn't installed: \(failure)")
    }
  }

  /// Ties the outbox of a table to the store at an address, whatever store it was tied to.
  /// - Returns: The store, as text.
  public static func moveOutbox(
    of table: FollowedTable, at address: SourceAddress, to connection: RedisConnection, _ layout: StoreLayout
  ) async throws -> String {
    let database = SourceDatabase(address, deadline: .seconds(60))
    do {
      let row = try await database.run([table.check]).first ?? []
      if let objection = table.objection(to: row) { throw CannotFollow(description: objection) }
      let store = try await OutboxClaim.move(table, in: database, to: connection, layout)
      return "\(store)"
    } catch let failure as SourceDatabase.Failure {
      throw CannotFollow(description: "the outbox wasn't moved: \(failure)")
    }
  }
}

/// The store was restored, rebuilt or replaced after it was made equal to the source.
struct StoreWentBack: Error, Sendable, CustomStringConvertible {
  let description: String

  init(description: String) { self.description = description }

  init(from former: String, to epoch: String) {
    description =
      "the store was rebuilt or replaced (epoch \(epoch), expected \(former)): comparing it with the source"
  }

  init(from former: UInt64, to version: UInt64) {
    description =
      "the store went back from version \(former) to \(version), as after a restored backup: comparing it with the "
      + "source"
  }

  init(otherContentAt version: UInt64) {
    description =
      "at version \(version) the store has another content than before, as after a restored backup that was changed: "
      + "comparing it with the source"
  }
}
