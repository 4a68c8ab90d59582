// The one writer of the key store: sends edits to the atomic script, and returns the store's answer. `key-publisher`
// and the tests use it; so does a service that changes keys itself.

internal import Bytes
import Hiredis
public import KeyReplica
public import NIOCore
public import RedisClient

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A requested change of a key.
///
/// Without permissions an edit reverses nothing: it leaves a revoked key revoked, leaves a key with its account, and a
/// put leaves an active key active. Each exception needs a permission.
public struct KeyEdit: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// Write the record, whether the key is known or not. Without a state a known key keeps its state, and a new key is
    /// active.
    case put(account: String, KeyState?)
    /// Change the state of a known key. Its account stays.
    case setState(KeyState)
    /// Check that the key has this state and account. Changes nothing; it is for later edits that depend on it.
    case check(KeyState, account: String)
  }

  /// Permissions of an edit.
  public struct Permissions: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Suspend or revoke an active key, as agreed by an operator. Nodes don't count it as a removal that may be a
    /// mistake.
    public static let end = Permissions(rawValue: 1)
    /// Move a known key to another account.
    public static let move = Permissions(rawValue: 2)
    /// Change a revoked key.
    public static let reactivate = Permissions(rawValue: 4)
    /// Change a record without a version: the change stream shows that the record is older than the version that the
    /// edit is based on.
    static let olderThanBasis = Permissions(rawValue: 8)
    /// Not a permission but a condition: carry the edit out only if all edits before it in the same step were carried
    /// out.
    public static let dependent = Permissions(rawValue: 16)
  }

  public var key: KeyID
  public var kind: Kind
  public var allowing: Permissions
  /// The source's revision of this change. The edit isn't carried out if the record has a larger revision.
  public var revision: UInt64?
  /// For a change of the state: carry it out only if the key belongs to this account.
  public var onlyOf: String?
  /// For a put: when the key ends.
  public var expiry: ExpiryChange

  public init(
    key: KeyID, kind: Kind, allowing: Permissions = [], revision: UInt64? = nil, onlyOf account: String? = nil,
    expiry: ExpiryChange = .keep
  ) {
    self.key = key
    self.kind = kind
    self.allowing = allowing
    self.revision = revision
    onlyOf = account
    self.expiry = expiry
  }
}

/// An edit would write an unreadable record. Nothing was sent.
public struct InvalidEdit: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

/// The result of one edit.
public struct EditResult: Sendable, Hashable {
  /// The letters are those of the script.
  public enum Kind: Unicode.Scalar, Sendable, CaseIterable {
    case changed = "c"
    /// The record already had this content.
    case unchanged = "u"
    /// The edit changes the state of a key that isn't in the store.
    case missing = "m"
    /// The key is revoked, and stays revoked.
    case staysRevoked = "r"
    /// The key belongs to another account, and stays with it.
    case otherAccount = "a"
    /// The key was changed after the version that the edit is based on.
    case newerVersion = "v"
    /// The record has a larger revision than the edit.
    case olderRevision = "o"
    /// A put would have suspended or revoked an active key, without permission.
    case unagreed = "e"
    /// A check failed, or the edit depends on an edit that wasn't carried out.
    case notReached = "x"
    /// The key's record can't be read, so it is unknown what the change would undo: ``DamagedRecord``.
    case damaged = "d"
  }

  public var kind: Kind
  /// The key's state now; nil if it has no record, or an unreadable one.
  public var state: KeyState?

  public init(kind: Kind, state: KeyState?) {
    self.kind = kind
    self.state = state
  }
}

/// The results of several edits.
public struct EditOutcome: Sendable, Hashable {
  /// The store's history, and its version after the edits; empty and 0 if there is no store.
  public var epoch: String
  public var version: UInt64
  /// The store's digest after the edits.
  public var digest: Digest
  /// The result of each edit, in their order; empty if several outcomes were added.
  public private(set) var results: [EditResult]
  private var counts: [EditResult.Kind: Int]
  /// Puts without a state for suspended keys, which stayed suspended.
  public internal(set) var leftSuspended = 0
  /// Puts without a state for revoked keys, which stayed unchanged.
  public internal(set) var leftRevoked = 0

  package init(epoch: String, version: UInt64, digest: Digest = .empty, results: [EditResult]) {
    self.epoch = epoch
    self.version = version
    self.digest = digest
    self.results = results
    counts = results.reduce(into: [:]) { $0[$1.kind, default: 0] += 1 }
  }

  public subscript(kind: EditResult.Kind) -> Int { counts[kind] ?? 0 }

  public var changed: Int { self[.changed] }
  public var unchanged: Int { self[.unchanged] }
  public var missing: Int { self[.missing] }

  /// The sum of both. Epoch, version and digest are the later outcome's.
  static func + (left: EditOutcome, right: EditOutcome) -> EditOutcome {
    var sum = right
    sum.results = []
    sum.counts.merge(left.counts, uniquingKeysWith: +)
    sum.leftSuspended += left.leftSuspended
    sum.leftRevoked += left.leftRevoked
    return sum
  }
}

/// Writes to the key store. Every call completes only when its change is in the store. If there is no store, calls that
/// add something create it.
public struct KeyStoreWriter: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  /// How many changes the stream keeps, for replicas that are behind.
  private let changesKept: Int
  /// Maximum wait for Redis's answer to one step.
  private let deadline: TimeAmount

  public init(
    connection: RedisConnection, layout: StoreLayout, changesKept: Int = 100_000, deadline: TimeAmount = .seconds(30)
  ) {
    self.connection = connection
    self.layout = layout
    self.changesKept = changesKept
    self.deadline = deadline
  }

  /// Maximum edits of one script call, which take a few milliseconds of Redis's time.
  public static let batchLimit = 256

  /// Carries out up to ``batchLimit`` edits in one atomic step.
  /// - Parameters:
  ///   - version: The version that the edits are based on: a key that was changed after it is left unchanged.
  ///   - lease: Once this lease has ended, nothing is changed.
  /// - Throws: ``RedisClient/RedisError``: it is unknown whether the edits were carried out, and repeating them is
  ///   harmless; ``Hiredis/RedisServerError`` or ``InvalidEdit``: none was carried out.
  public func apply(
    _ edits: [KeyEdit], basedOn version: UInt64? = nil, under lease: ListLease? = nil
  ) async throws -> EditOutcome {
    try await submit(edits, basedOn: version, under: lease).get()
  }

  /// The same, for callers with several batches in flight. Batches are carried out in order only after the first one
  /// has succeeded: a batch that has to be sent again, because Redis doesn't have the script or a store yet, comes
  /// after the batches that were in flight.
  package func submit(
    _ edits: [KeyEdit], basedOn version: UInt64? = nil, under lease: ListLease? = nil
  ) -> EventLoopFuture<EditOutcome> {
    // Suspending or revoking unknown keys doesn't create a store.
    let adds = edits.contains { if case .put = $0.kind { true } else { false } }
    let nothing = EditOutcome(
      epoch: "", version: 0, results: edits.map { _ in EditResult(kind: .missing, state: nil) })
    return withStore(beginning: adds, otherwise: nothing) {
      submitOnce(edits, basedOn: version, under: lease)
    }
  }

  /// Runs an operation that needs a store. If there is none, creates a store and runs the operation again.
  /// - Parameters:
  ///   - beginning: Whether to create a store.
  ///   - absent: The result if there is no store and none is to be created; nil to fail with the store's error.
  private func withStore<Answer: Sendable>(
    beginning: Bool, otherwise absent: Answer?, _ body: @escaping @Sendable () -> EventLoopFuture<Answer>
  ) -> EventLoopFuture<Answer> {
    body().flatMapError { [connection, layout, deadline] error in
      guard let refusal = error as? RedisServerError, refusal.storeCode == .absent else {
        return connection.eventLoop.makeFailedFuture(error)
      }
      let script = CreateScript(layout: layout, epoch: StoreEpoch.random(), begins: beginning)
      return connection.run(script, within: deadline).flatMap { reply in
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
      // One unreadable record would stop all nodes from refusing keys.
      if case .put(let account, _) = edit.kind, let objection = KeyRecord.objection(toAccount: account) {
        return connection.eventLoop.makeFailedFuture(InvalidEdit(description: "key \(edit.key): \(objection)"))
      }
      if let revision = edit.revision, revision > KeyRecord.revisionLimit {
        return connection.eventLoop.makeFailedFuture(
          InvalidEdit(description: "key \(edit.key): the revision \(revision) is over \(KeyRecord.revisionLimit)"))
      }
      if case .set(let moment) = edit.expiry, !(0...KeyRecord.expiryLimit).contains(moment) {
        return connection.eventLoop.makeFailedFuture(
          InvalidEdit(
            description: "key \(edit.key): expected an expiry from 0 to \(KeyRecord.expiryLimit) s, got \(moment)"))
      }
    }
    let script = ChangeScript(
      edits, basedOn: version, under: lease, layout: layout, now: Int64(Date().timeIntervalSince1970),
      changesKept: changesKept)
    return connection.run(script, within: deadline).flatMapThrowing { reply in
      var outcome = try script.read(reply)
      for (edit, result) in zip(edits, outcome.results) {
        guard case .put(_, nil) = edit.kind else { continue }
        if result.state == .suspended { outcome.leftSuspended += 1 }
        if result.state == .revoked, result.kind == .unchanged { outcome.leftRevoked += 1 }
      }
      return outcome
    }
  }

  /// Removes the records of up to ``batchLimit`` keys that have been revoked since before a time, in one atomic step.
  /// The other keys stay, and count as unchanged.
  /// - Parameter moment: Seconds since 1970.
  /// - Throws: As ``apply(_:)``.
  func purge(_ keys: [KeyID], revokedBefore moment: Int64) -> EventLoopFuture<EditOutcome> {
    precondition(keys.count <= Self.batchLimit, "\(keys.count) keys in a batch, at most \(Self.batchLimit) are allowed")
    let script = PurgeScript(keys, revokedBefore: moment, layout: layout, changesKept: changesKept)
    return connection.run(script, within: deadline).flatMapThrowing { try script.read($0) }
  }

  /// Declares the store complete. From then on keys that aren't in it may be refused.
  /// - Parameter mayBeEmpty: Otherwise an empty store isn't sealed, because every key would be refused.
  /// - Returns: The version and the number of records, and whether it was already sealed.
  public func seal(mayBeEmpty: Bool = false) async throws -> (version: UInt64, keys: Int, already: Bool) {
    let script = SealScript(layout: layout, mayBeEmpty: mayBeEmpty, changesKept: changesKept)
    let sealed = try await withStore(beginning: mayBeEmpty, otherwise: nil) { [connection, deadline] in
      connection.run(script, within: deadline).flatMapThrowing { try script.read($0) }
    }.get()
    return (sealed.version, sealed.keys, sealed.already)
  }

  /// Names the store, and creates it if there is none.
  /// - Throws: ``OtherStoreName`` if it has another name, and Redis's errors.
  /// - Returns: Whether the name is new.
  public func name(_ name: String) async throws -> Bool {
    if let objection = StoreIdentity.objection(toName: name) { throw InvalidEdit(description: objection) }
    let script = NameScript(layout: layout, name: name)
    let named = try await withStore(beginning: true, otherwise: nil) { [connection, deadline] in
      connection.run(script, within: deadline).flatMapThrowing { try script.read($0) }
    }.get()
    guard named.name == name else { throw OtherStoreName(expected: name, found: named.name) }
    return named.isNew
  }

  /// Records that the store replaces another one: nodes that mirrored the other one mirror this one from then on.
  /// - Parameter other: The other store's ID or name.
  public func adopt(_ other: String) async throws {
    guard StoreIdentity.isID(other) || StoreIdentity.objection(toName: other) == nil else {
      throw InvalidEdit(description: "expected the ID or the name of a store, got \"\(other)\"")
    }
    let script = AdoptScript(layout: layout, other: other)
    try script.read(await connection.execute(script))
  }

  /// Tells all replicas that all removals up to now are intended: keys in quarantine are removed.
  /// - Returns: The version.
  public func confirmRemovals() async throws -> UInt64 {
    let script = ConfirmScript(layout: layout, changesKept: changesKept)
    return try script.read(await connection.execute(script))
  }
}

extension KeyStoreWriter {
  /// Tells all nodes that this number of distinct unknown keys has a good reason. The nodes refuse up to twice as many
  /// unknown keys, even if most keys are unknown.
  /// - Parameter number: From 0 to ``KeyReplica/RecentKeyCounts/confirmedLimit``. 0 withdraws an earlier confirmation.
  public func confirm(unknownKeys number: Int) async throws {
    precondition((0...RecentKeyCounts.confirmedLimit).contains(number), "\(number) unknown keys can't be confirmed")
    let script = ConfirmUnknownScript(layout: layout, number: number)
    try script.read(await connection.execute(script))
  }
}

/// The store has another name than the expected one. Nothing was changed.
public struct OtherStoreName: Error, Sendable, Equatable, CustomStringConvertible {
  public let expected: String
  public let found: String

  public init(expected: String, found: String) {
    self.expected = expected
    self.found = found
  }

  public var description: String {
    "expected the store \(expected), but the store at this address is named \(found); nothing was changed"
  }
}

/// Creates the names of histories.
enum StoreEpoch {
  /// A new random name: 32 hexadecimal digits.
  static func random() -> String { UInt128.random(in: 0...UInt128.max).hexDigits() }
}
