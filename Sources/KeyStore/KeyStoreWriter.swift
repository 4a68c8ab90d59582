// The one writer of the key store: edits in, through the atomic script, and the store's answer out. It is what
// `key-publisher` and the tests use; a service that wants to change keys itself uses it as well.

internal import Bytes
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
///
/// By itself it undoes nothing: it leaves a revoked key revoked, leaves a key with its account, and, where it is a put,
/// ends no active key. What it may do beyond that it has to say.
public struct KeyEdit: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// Write the record, whether the key is known or not. Without a state a known key keeps the one that it has, and a
    /// new one is active.
    case put(account: String, KeyState?)
    /// Change the state of a known key; its account stays.
    case setState(KeyState)
    /// Check that the key has this state and account. Changes nothing; edits that depend on it follow.
    case check(KeyState, account: String)
  }

  /// What an edit may do.
  public struct Permissions: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Take an active key out of service, as somebody has agreed to: nodes don't count it as a removal that may be a
    /// mistake.
    public static let end = Permissions(rawValue: 1)
    /// Move a known key to another account.
    public static let move = Permissions(rawValue: 2)
    /// Change a revoked key.
    public static let reactivate = Permissions(rawValue: 4)
    /// Change a record that doesn't say its version: the change stream shows that it is older than the version that
    /// the edit rests on.
    static let olderThanBasis = Permissions(rawValue: 8)
    /// The other way round: only if all edits before it in the same step were carried out.
    public static let dependent = Permissions(rawValue: 16)
  }

  public var key: KeyID
  public var kind: Kind
  public var allowing: Permissions
  /// The source's number for what it says here. The edit isn't carried out if the record has a larger one.
  public var revision: UInt64?
  /// Where the state is to change: only if the key belongs to this account.
  public var onlyOf: String?

  public init(
    key: KeyID, kind: Kind, allowing: Permissions = [], revision: UInt64? = nil, onlyOf account: String? = nil
  ) {
    self.key = key
    self.kind = kind
    self.allowing = allowing
    self.revision = revision
    onlyOf = account
  }
}

/// An edit that nobody could read afterwards; nothing was sent.
public struct InvalidEdit: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

/// What became of one edit.
public struct EditResult: Sendable, Hashable {
  /// The letters are the script's.
  public enum Kind: Unicode.Scalar, Sendable, CaseIterable {
    case changed = "c"
    /// The record already said just that.
    case unchanged = "u"
    /// The key's state was to change, and the store doesn't know the key.
    case missing = "m"
    /// The key is revoked, and stays so.
    case staysRevoked = "r"
    /// The key belongs to another account, and stays there.
    case otherAccount = "a"
    /// The key was changed since the version that the edit rests on.
    case newerVersion = "v"
    /// The record has a larger revision.
    case olderRevision = "o"
    /// A put would have ended an active key, and nobody agreed to that.
    case unagreed = "e"
    /// A check failed, or the edit depends on one that wasn't carried out.
    case notReached = "x"
  }

  public var kind: Kind
  /// The key's state now; nil if it has no record, or none that can be read.
  public var state: KeyState?

  public init(kind: Kind, state: KeyState?) {
    self.kind = kind
    self.state = state
  }
}

/// What became of edits.
public struct EditOutcome: Sendable, Hashable {
  /// The store's history and the version it was at after them; empty and 0 where there is no store.
  public var epoch: String
  public var version: UInt64
  /// Of each edit, in their order; empty where several outcomes were added up.
  public private(set) var results: [EditResult]
  private var counts: [EditResult.Kind: Int]
  /// Puts without a state that found the key suspended, and left it so.
  public internal(set) var leftSuspended = 0
  /// Puts without a state that found the key revoked, and changed nothing.
  public internal(set) var leftRevoked = 0

  init(epoch: String, version: UInt64, results: [EditResult]) {
    self.epoch = epoch
    self.version = version
    self.results = results
    counts = results.reduce(into: [:]) { $0[$1.kind, default: 0] += 1 }
  }

  public subscript(kind: EditResult.Kind) -> Int { counts[kind] ?? 0 }

  public var changed: Int { self[.changed] }
  public var unchanged: Int { self[.unchanged] }
  public var missing: Int { self[.missing] }

  /// Both together; epoch and version are the later one's.
  static func + (left: EditOutcome, right: EditOutcome) -> EditOutcome {
    var sum = right
    sum.results = []
    sum.counts.merge(left.counts, uniquingKeysWith: +)
    sum.leftSuspended += left.leftSuspended
    sum.leftRevoked += left.leftRevoked
    return sum
  }
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
  /// - Parameters:
  ///   - version: What the edits rest on: a key that was changed after it is left alone.
  ///   - lease: Once it has ended, nothing is changed.
  /// - Throws: ``RedisClient/RedisError``: whether they were carried out is unknown then, and doing so again is harmless;
  ///   ``Hiredis/RedisServerError`` or ``InvalidEdit``: none was.
  public func apply(
    _ edits: [KeyEdit], basedOn version: UInt64? = nil, under lease: ListLease? = nil
  ) async throws -> EditOutcome {
    try await submit(edits, basedOn: version, under: lease).get()
  }

  /// The same, for callers that keep several batches on their way. They are carried out in order once one has been: one that has to be sent
  /// again, because Redis has no script or no store yet, comes behind those that were on their way.
  func submit(
    _ edits: [KeyEdit], basedOn version: UInt64? = nil, under lease: ListLease? = nil
  ) -> EventLoopFuture<EditOutcome> {
    // Ending keys that nobody has needn't begin a store.
    let adds = edits.contains { if case .put = $0.kind { true } else { false } }
    let nothing = EditOutcome(
      epoch: "", version: 0, results: edits.map { _ in EditResult(kind: .missing, state: nil) })
    return withStore(beginning: adds, otherwise: nothing) {
      submitOnce(edits, basedOn: version, under: lease)
    }
  }

  /// Does something that needs a store. Where there is none one is begun, and it is done once more.
  /// - Parameters:
  ///   - beginning: Whether one is to be begun.
  ///   - absent: What is answered where there is none and none is to be begun; nil to fail with the store's own answer.
  private func withStore<Answer: Sendable>(
    beginning: Bool, otherwise absent: Answer?, _ body: @escaping @Sendable () -> EventLoopFuture<Answer>
  ) -> EventLoopFuture<Answer> {
    body().flatMapError { [connection, layout] error in
      guard let refusal = error as? RedisServerError, refusal.storeCode == .absent else {
        return connection.eventLoop.makeFailedFuture(error)
      }
      let script = CreateScript(layout: layout, epoch: StoreEpoch.random(), begins: beginning)
      return connection.run(script, within: .seconds(30)).flatMap { reply in
        do {
          if try script.read(reply) { return body() }
          guard let absent else { throw refusal }
          return connection.eventLoop.makeSucceededFuture(absent)
        } catch {
          return connection.eventLoop.makeFailedFuture(error)
        }
      }
    }
  }

  private func submitOnce(
    _ edits: [KeyEdit], basedOn version: UInt64?, under lease: ListLease?
  ) -> EventLoopFuture<EditOutcome> {
    precondition(
      edits.count <= Self.batchLimit, "\(edits.count) edits in a batch, at most \(Self.batchLimit) are allowed")
    for edit in edits {
      // One record that can't be read back would keep every node from refusing anybody.
      if case .put(let account, _) = edit.kind, let objection = KeyRecord.objection(toAccount: account) {
        return connection.eventLoop.makeFailedFuture(InvalidEdit(description: "key \(edit.key): \(objection)"))
      }
      if let revision = edit.revision, revision > KeyRecord.revisionLimit {
        return connection.eventLoop.makeFailedFuture(
          InvalidEdit(description: "key \(edit.key): the revision \(revision) is over \(KeyRecord.revisionLimit)"))
      }
    }
    let script = ChangeScript(
      edits, basedOn: version, under: lease, layout: layout, now: Int64(Date().timeIntervalSince1970),
      changesKept: changesKept)
    return connection.run(script, within: .seconds(30)).flatMapThrowing { reply in
      var outcome = try script.read(reply)
      for (edit, result) in zip(edits, outcome.results) {
        guard case .put(_, nil) = edit.kind else { continue }
        if result.state == .suspended { outcome.leftSuspended += 1 }
        if result.state == .revoked, result.kind == .unchanged { outcome.leftRevoked += 1 }
      }
      return outcome
    }
  }

  /// Removes the records of up to ``batchLimit`` keys, where they have been revoked since before a moment, in one atomic step. The
  /// others stay, and count as unchanged.
  /// - Parameter moment: Seconds since 1970.
  /// - Throws: As ``apply(_:)``.
  func purge(_ keys: [KeyID], revokedBefore moment: Int64) -> EventLoopFuture<EditOutcome> {
    precondition(keys.count <= Self.batchLimit, "\(keys.count) keys in a batch, at most \(Self.batchLimit) are allowed")
    let script = PurgeScript(keys, revokedBefore: moment, layout: layout, changesKept: changesKept)
    return connection.run(script, within: .seconds(30)).flatMapThrowing { try script.read($0) }
  }

  /// Marks the store as populated, after which keys that it doesn't hold may be refused.
  /// - Parameter mayBeEmpty: Without it an empty store isn't sealed, since every key would be refused.
  /// - Returns: The version and the number of records, and whether it was sealed already.
  public func seal(mayBeEmpty: Bool = false) async throws -> (version: UInt64, keys: Int, already: Bool) {
    let script = SealScript(layout: layout, mayBeEmpty: mayBeEmpty, changesKept: changesKept)
    let sealed = try await withStore(beginning: mayBeEmpty, otherwise: nil) { [connection] in
      connection.run(script, within: .seconds(30)).flatMapThrowing { try script.read($0) }
    }.get()
    return (sealed.version, sealed.keys, sealed.already)
  }

  /// Tells all replicas that all removals up to now are meant: what they hold back is let go.
  /// - Returns: The version.
  public func confirmRemovals() async throws -> UInt64 {
    let script = ConfirmScript(layout: layout, changesKept: changesKept)
    return try script.read(await connection.execute(script))
  }
}

/// The names of histories.
enum StoreEpoch {
  /// A new one: 32 hexadecimal digits that nobody had before.
  static func random() -> String { UInt128.random(in: 0...UInt128.max).hexDigits() }
}
