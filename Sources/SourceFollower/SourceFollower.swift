// Keeps a key store equal to a source, the customers' own database, for as long as it runs, and marks the store with the
// moment as of which it is.
//
// It works in sessions: one connection to Redis, the lease, and connections to the source. Whatever goes wrong ends the
// session, and the next one begins with a comparison of everything. So no state of a session has to be carried over an
// error, and a store that was restored, a source that failed over and a follower that was killed are all the same case.
//
// One follows at a time: the lease is that of lists, so `import` and `sync` wait for it too, and scripts check it in the
// step that writes. Others wait for the lease, and take over.

public import KeyStore
public import Logging
public import RedisClient

/// What is followed.
public enum FollowedSource: Sendable {
  /// A table with a trigger that notes each change.
  case table(SourceAddress, FollowedTable)
  /// A query of a database, carried out each interval.
  case query(SourceAddress, FollowedQuery, every: Duration)
  /// A command that prints the whole list, run each interval and killed after a time.
  case command(String, every: Duration, within: Duration)
}

/// How a source is followed.
public struct FollowOptions: Sendable {
  /// Between comparisons of everything, where changes are noted.
  public var compareEvery: Duration = .seconds(3_600)
  /// Between marks, while nothing changes.
  public var markEvery: Duration = .seconds(1)
  /// In percent of the active keys.
  public var maxRevoked: Double = 5
  /// How long changes wait for declared replicas.
  public var confirmWait: Duration = .seconds(5)
  /// Whether Sentinels or a cluster lead to the primary.
  public var isWatched = false
  /// Shown to others that wait.
  public var name: String
  /// For each statement of the whole list.
  public var listDeadline: Duration = .seconds(600)

  public init(name: String) { self.name = name }
}

/// Why a follower can't begin, and wouldn't later either.
public struct CannotFollow: Error, Sendable, CustomStringConvertible {
  public let description: String
}

/// Follows a source.
public struct SourceFollower: Sendable {
  private let source: FollowedSource
  private let layout: StoreLayout
  private let options: FollowOptions
  private let notes: FollowNotes
  private let connect: @Sendable () async throws -> RedisConnection
  private let afterComparison: @Sendable (RedisConnection) async throws -> Void

  private static let backoff = (first: Duration.milliseconds(250), most: Duration.seconds(10))

  /// - Parameters:
  ///   - connect: Connects to Redis.
  ///   - afterComparison: Called once the store is equal to the source for the first time in a session.
  public init(
    _ source: FollowedSource, into layout: StoreLayout, options: FollowOptions, logger: Logger,
    connect: @escaping @Sendable () async throws -> RedisConnection,
    afterComparison: @escaping @Sendable (RedisConnection) async throws -> Void = { _ in }
  ) {
    (self.source, self.layout, self.options) = (source, layout, options)
    notes = FollowNotes(logger)
    (self.connect, self.afterComparison) = (connect, afterComparison)
  }

  /// Follows until the task is cancelled.
  /// - Throws: ``CannotFollow``, or Redis's denial of a right, if that comes before the store was equal to the source for the first time.
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
      } catch let error as StoreWentBack {
        notes.notice("\(error)")
        (failures, hasFollowed) = (0, true)
      } catch {
        if Task.isCancelled { return }
        if session.hasFollowed { (failures, hasFollowed) = (0, true) }
        if !hasFollowed, isFinal(error) { throw error }
        failures += 1
        notes.problem(.session, "not following the source: \(error). The store's mark isn't renewed until that is over")
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

  /// Whether the same start would fail again.
  private func isFinal(_ error: any Error) -> Bool {
    switch error {
    case is CannotFollow, is FollowedTable.Invalid: true
    case let error as SourceDatabase.Failure: error.isOfStatement
    default: RedisRefusal.isFinal(error)
    }
  }

  /// Creates the trigger and the outbox of a table.
  /// - Parameter first: As ``FollowedTable/installation(first:)``.
  public static func install(_ table: FollowedTable, at address: SourceAddress, first: UInt64) async throws {
    let database = SourceDatabase(address, deadline: .seconds(60))
    do {
      try await database.run(table.installation(first: first))
    } catch let failure as SourceDatabase.Failure {
      throw CannotFollow(description: "the trigger wasn't installed: \(failure)")
    }
  }
}

/// The store isn't the one any more that was made equal to the source.
struct StoreWentBack: Error, Sendable, CustomStringConvertible {
  let description: String

  init(description: String) { self.description = description }

  init(from former: String, to epoch: String) {
    description =
      "the store was rebuilt or replaced (epoch \(epoch), expected \(former)): comparing it with the source"
  }

  init(from former: UInt64, to version: UInt64) {
    description =
      "the store went back from version \(former) to \(version), as after a restored backup: comparing it with the source"
  }
}
