// The one writer of the key store: edits in, through the atomic script, and the store's answer out. It is what
// `key-publisher` and the tests use; a service that wants to change keys itself uses it as well.

import Hiredis
public import KeyReplica
public import RedisClient
import NIOCore

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A change that somebody wants made.
public struct KeyEdit: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// Write the record, whether the key is known or not.
    case put(account: String, KeyState)
    /// Change the state of a known key; its account stays.
    case setState(KeyState)
  }

  public var key: KeyID
  public var kind: Kind

  public init(key: KeyID, kind: Kind) {
    self.key = key
    self.kind = kind
  }
}

/// An edit that nobody could read afterwards; nothing was sent.
public struct InvalidEdit: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

/// What became of edits.
public struct EditOutcome: Sendable, Hashable {
  /// The store's history and the version it was at after them; empty and 0 where there is no store.
  public var epoch: String
  public var version: UInt64
  public var changed = 0
  /// The record already said just that.
  public var unchanged = 0
  /// Keys whose state was to change and that the store doesn't know.
  public var missing = 0
}

/// Writes to the key store. Every call answers only when its change is in the store. What adds something begins the store where
/// there is none.
public struct KeyStoreWriter: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  /// How many changes the stream keeps for replicas that fell behind.
  private let changesKept: Int

  public init(connection: RedisConnection, layout: StoreLayout, changesKept: Int = 100_000) {
    self.connection = connection
    self.layout = layout
    self.changesKept = changesKept
  }

  /// The most edits that one script call takes: a few milliseconds of Redis's time.
  public static let batchLimit = 256

  /// Carries out up to ``batchLimit`` edits in one atomic step.
  /// - Throws: ``RedisClient/RedisError``: whether they were carried out is unknown then, and doing so again is harmless;
  ///   ``Hiredis/RedisServerError`` or ``InvalidEdit``: none was.
  public func apply(_ edits: [KeyEdit]) async throws -> EditOutcome {
    try await submit(edits).get()
  }

  /// The same, for callers that keep several batches on their way. They are carried out in order once one has been: one that has to be sent
  /// again, because Redis has no script or no store yet, comes behind those that were on their way.
  func submit(_ edits: [KeyEdit]) -> EventLoopFuture<EditOutcome> {
    // Ending keys that nobody has needn't begin a store.
    let adds = edits.contains { if case .put = $0.kind { true } else { false } }
    let nothing = EditOutcome(epoch: "", version: 0, missing: edits.count)
    return withStore(beginning: adds, otherwise: nothing) { submitOnce(edits) }
  }

  /// Does something that needs a store. Where there is none one is begun, and it is done once more.
  /// - Parameters:
  ///   - beginning: Whether one is to be begun.
  ///   - absent: What is answered where there is none and none is to be begun; nil to fail with the store's own answer.
  private func withStore<Answer: Sendable>(
    beginning: Bool, otherwise absent: Answer?, _ body: @escaping @Sendable () -> EventLoopFuture<Answer>
  ) -> EventLoopFuture<Answer> {
    body().flatMapError { [connection, layout] error in
      guard let refusal = error as? RedisServerError, refusal.code == "STORENONE" else {
        return connection.eventLoop.makeFailedFuture(error)
      }
      return connection.run(
        StoreScripts.create, keys: [layout.meta, layout.changes] + layout.allBuckets,
        arguments: [StoreLayout.schema, StoreLayout.bucketCount, StoreEpoch.random(), beginning ? 1 : 0],
        within: .seconds(30)
      ).flatMap { reply in
        do {
          if try reply.integer() == 1 { return body() }
          guard let absent else { throw refusal }
          return connection.eventLoop.makeSucceededFuture(absent)
        } catch {
          return connection.eventLoop.makeFailedFuture(error)
        }
      }
    }
  }

  private func submitOnce(_ edits: [KeyEdit]) -> EventLoopFuture<EditOutcome> {
    precondition(
      edits.count <= Self.batchLimit, "\(edits.count) edits in a batch, at most \(Self.batchLimit) are allowed")
    var keys = [layout.meta, layout.changes]
    var positions: [Int: Int] = [:]
    var arguments: [any RedisArgument] = [
      StoreLayout.schema, StoreLayout.bucketCount, Int64(Date().timeIntervalSince1970), changesKept,
    ]
    // What ends keys must work on a Redis that is full; what adds them mustn't.
    var onlyEnds = true
    for edit in edits {
      let bucket = edit.key.bucket(of: StoreLayout.bucketCount)
      let position = positions[bucket] ?? keys.count + 1
      if positions[bucket] == nil {
        positions[bucket] = position
        keys.append(layout.bucket(bucket))
      }
      switch edit.kind {
      case .put(let account, let state):
        // One record that can't be read back would keep every node from refusing anybody.
        if let objection = KeyRecord.objection(toAccount: account) {
          return connection.eventLoop.makeFailedFuture(InvalidEdit(description: "key \(edit.key): \(objection)"))
        }
        onlyEnds = false
        arguments += ["p", position, bucket, edit.key.bytes, String(state.letter), account] as [any RedisArgument]
      case .setState(let state):
        if state == .active { onlyEnds = false }
        arguments += ["s", position, bucket, edit.key.bytes, String(state.letter), ""] as [any RedisArgument]
      }
    }
    return outcome(of: onlyEnds ? StoreScripts.end : StoreScripts.change, keys, arguments, edits.count)
  }

  /// Removes the records of up to ``batchLimit`` keys, where they have been revoked since before a moment, in one atomic step. The
  /// others stay, and count as unchanged.
  /// - Parameter moment: Seconds since 1970.
  /// - Throws: As ``apply(_:)``.
  func purge(_ keys: [KeyID], revokedBefore moment: Int64) -> EventLoopFuture<EditOutcome> {
    precondition(keys.count <= Self.batchLimit, "\(keys.count) keys in a batch, at most \(Self.batchLimit) are allowed")
    var names = [layout.meta, layout.changes]
    var positions: [Int: Int] = [:]
    var arguments: [any RedisArgument] = [StoreLayout.schema, StoreLayout.bucketCount, moment, changesKept]
    for key in keys {
      let bucket = key.bucket(of: StoreLayout.bucketCount)
      let position = positions[bucket] ?? names.count + 1
      if positions[bucket] == nil {
        positions[bucket] = position
        names.append(layout.bucket(bucket))
      }
      arguments += [position, bucket, key.bytes] as [any RedisArgument]
    }
    return outcome(of: StoreScripts.purge, names, arguments, keys.count)
  }

  private func outcome(
    of script: RedisScript, _ keys: [String], _ arguments: [any RedisArgument], _ count: Int
  ) -> EventLoopFuture<EditOutcome> {
    connection.run(script, keys: keys, arguments: arguments, within: .seconds(30)).flatMapThrowing { reply in
      let items = try reply.array()
      guard items.count == 3, let version = UInt64(try items[1].string()) else {
        throw UnreadableStore("expected epoch, version and outcomes, but \(reply.shape) came")
      }
      var outcome = EditOutcome(epoch: try items[0].string(), version: version)
      let letters = try items[2].bytes()
      guard letters.count == count else {
        throw UnreadableStore("expected \(count) outcomes, but \(letters.count) came")
      }
      for letter in letters {
        switch letter {
        case UInt8(ascii: "c"): outcome.changed += 1
        case UInt8(ascii: "u"): outcome.unchanged += 1
        case UInt8(ascii: "m"): outcome.missing += 1
        default: throw UnreadableStore("an outcome is neither c, u nor m")
        }
      }
      return outcome
    }
  }

  /// Marks the store as populated, after which keys that it doesn't hold may be refused.
  /// - Parameter mayBeEmpty: Without it an empty store isn't sealed, since every key would be refused.
  /// - Returns: The version and the number of records, and whether it was sealed already.
  public func seal(mayBeEmpty: Bool = false) async throws -> (version: UInt64, keys: Int, already: Bool) {
    let items = try await withStore(beginning: mayBeEmpty, otherwise: nil) { [connection, layout, changesKept] in
      connection.run(
        StoreScripts.seal, keys: [layout.meta, layout.changes] + layout.allBuckets,
        arguments: [StoreLayout.schema, StoreLayout.bucketCount, mayBeEmpty ? 1 : 0, changesKept],
        within: .seconds(30)
      ).flatMapThrowing { try $0.array() }
    }.get()
    guard items.count == 4, let version = UInt64(try items[1].string()), let keys = Int(try items[2].string()) else {
      throw UnreadableStore("expected epoch, version, count and a flag, but \(items.count) items came")
    }
    return (version, keys, try items[3].integer() == 1)
  }

  /// Tells all replicas that so many active keys are about to be removed, so that they aren't taken for a mistake.
  /// - Returns: The version.
  public func announce(removals: Int) async throws -> UInt64 { try await say("announce", removals) }

  /// Tells all replicas that all removals up to now are meant: what they hold back is let go.
  /// - Returns: The version.
  public func confirmRemovals() async throws -> UInt64 { try await say("confirm", 0) }

  private func say(_ what: String, _ removals: Int) async throws -> UInt64 {
    let reply = try await connection.execute(
      StoreScripts.removals, keys: [layout.meta, layout.changes],
      arguments: [StoreLayout.schema, StoreLayout.bucketCount, what, changesKept, removals])
    let items = try reply.array()
    guard items.count == 2, let version = UInt64(try items[1].string()) else {
      throw UnreadableStore("expected epoch and version, but \(reply.shape) came")
    }
    return version
  }
}

/// The names of histories.
enum StoreEpoch {
  /// A new one: 32 hexadecimal digits that nobody had before.
  static func random() -> String {
    var generator = SystemRandomNumberGenerator()
    return (0..<2).map { _ in
      let digits = String(generator.next() as UInt64, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }
}
