// Reads and writes the source mark (see SourceMark). A mark is written by a small script, and isn't a change of the
// store.

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

  /// Redis's time in microseconds since 1970. For a mark it must be read before the source is read.
  public func time() async throws -> UInt64 {
    let parts = try await connection.execute(RedisCommand("TIME")).array()
    guard parts.count == 2, let seconds = UInt64(try parts[0].string()), let micros = UInt64(try parts[1].string()),
      seconds < SourceMark.limit / 1_000_000, micros < 1_000_000
    else { throw UnreadableStore("expected seconds and microseconds from TIME, got something else") }
    return seconds * 1_000_000 + micros
  }

  /// The result of writing a mark.
  public struct Outcome: Sendable, Hashable {
    public var isWritten: Bool
    /// The store's current epoch.
    public var epoch: String
    /// The store's current version.
    public var version: UInt64
    /// The store's current digest.
    public var digest: Digest
  }

  /// Marks the store: everything that was committed in the source before a moment is in the store. No mark is written
  /// if the store has another epoch, version or digest, because then the store was restored or replaced, or another
  /// program has changed it.
  /// - Parameters:
  ///   - moment: The result of ``time()`` on the same connection, from before the source was read.
  ///   - lease: The follower's lease.
  ///   - epoch: The epoch of the store that was made equal to the source.
  ///   - version: The version at which the store was equal to the source.
  ///   - digest: The store's digest at that version.
  /// - Throws: ``Hiredis/RedisServerError``, also if the lease has ended.
  public func mark(
    _ moment: UInt64, under lease: ListLease, of epoch: String, at version: UInt64, digest: Digest
  ) async throws -> Outcome {
    let script = MarkScript(
      layout: layout, lease: lease, epoch: epoch, version: version, digest: digest, moment: moment)
    return try script.read(await connection.execute(script))
  }

  /// Sets the maximum age of the mark for refusals; nil for no limit.
  public func setMaxAge(_ maxAge: Duration?) async throws {
    let milliseconds = maxAge.map { Int64($0 / .milliseconds(1)) }
    let script = SourceBoundScript(layout: layout, milliseconds: milliseconds)
    try script.read(await connection.execute(script))
  }

  /// The store's position and mark, read in one step.
  /// - Throws: ``UnreadableStore`` if the mark or its maximum age can't be read, in addition to the errors of
  ///   ``RedisClient/RedisConnection/storePosition(_:)``.
  public func read() async throws -> (position: StoreAnswer<StorePosition>, mark: SourceMark) {
    let answer = try await connection.storePosition(layout)
    guard case .found(let position) = answer else { return (answer, SourceMark()) }
    if let flaw = position.source.flaw { throw UnreadableStore(flaw) }
    return (answer, position.source)
  }
}
