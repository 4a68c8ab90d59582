// Writes and reads the source mark: see SourceMark. Writing it is one small script, beside the store's changes.

import Hiredis
public import KeyReplica
import NIOCore
public import RedisClient

/// The source mark in the store.
public struct SourceMarks: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout

  public init(connection: RedisConnection, layout: StoreLayout) {
    self.connection = connection
    self.layout = layout
  }

  /// Redis's time in microseconds since 1970. Read before the source is.
  public func time() async throws -> UInt64 {
    let parts = try await connection.execute(RedisCommand("TIME")).array()
    guard parts.count == 2, let seconds = UInt64(try parts[0].string()), let micros = UInt64(try parts[1].string()),
      seconds < SourceMark.limit / 1_000_000, micros < 1_000_000
    else { throw UnreadableStore("expected seconds and microseconds from TIME, got something else") }
    return seconds * 1_000_000 + micros
  }

  /// What became of a mark.
  public struct Outcome: Sendable, Hashable {
    public var isWritten: Bool
    /// The store's, now.
    public var epoch: String
    public var version: UInt64
  }

  /// Says that everything that was committed in the source before a moment is in the store. Nothing is written if the
  /// store has another epoch or version: then it was restored or replaced, or somebody else changed it.
  /// - Parameters:
  ///   - moment: ``time()``, from before the source was read, on the same connection.
  ///   - lease: The follower's.
  ///   - epoch: Of the store that was made equal to the source.
  ///   - version: The one that is equal to the source.
  /// - Throws: ``Hiredis/RedisServerError`` also if the lease has ended.
  public func mark(
    _ moment: UInt64, under lease: ListLease, of epoch: String, at version: UInt64
  ) async throws -> Outcome {
    let script = MarkScript(layout: layout, lease: lease, epoch: epoch, version: version, moment: moment)
    return try script.read(await connection.execute(script))
  }

  /// Sets how old the mark may be for a refusal; nil for no bound.
  public func setMaxAge(_ maxAge: Duration?) async throws {
    let milliseconds = maxAge.map { Int64($0 / .milliseconds(1)) }
    let script = SourceBoundScript(layout: layout, milliseconds: milliseconds)
    try script.read(await connection.execute(script))
  }

  /// Position and mark, read in one step.
  public func read() async throws -> (position: StoreAnswer<StorePosition>, mark: SourceMark) {
    let reply = try await connection.execute(layout.positionCommand)
    return (try layout.position(from: reply), try layout.sourceMark(from: reply))
  }
}
