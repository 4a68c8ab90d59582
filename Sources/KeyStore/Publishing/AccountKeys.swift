// Changes all keys of one account. The store has no index by account, so all of it is read: a million keys take about a
// second.

public import KeyReplica
public import NIOCore
public import RedisClient

/// Changes the state of all keys of an account.
public struct AccountKeys: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let deadline: NIODeadline?

  /// - Parameter deadline: The end of the whole work; nil if each step has its own deadline only.
  public init(connection: RedisConnection, layout: StoreLayout, deadline: NIODeadline? = nil) {
    self.connection = connection
    self.layout = layout
    self.deadline = deadline
  }

  /// The counts of one call.
  public struct Outcome: Sendable {
    /// Keys of the account, in all states.
    public var keys = 0
    public var changed = 0
    /// Revoked keys, which stay revoked.
    public var staysRevoked = 0
    /// Unreadable records, which may belong to the account.
    public var unreadable = 0
    /// The store's version after the last change; nil if there was none.
    public var version: UInt64?
  }

  /// A key that is added during the read may be missed, so the store is read again until nothing is left to do.
  private static let passLimit = 3

  /// - Parameters:
  ///   - state: The new state. Revoked keys stay revoked.
  ///   - isTrial: Whether to count only.
  /// - Throws: Some keys may have been changed then. Repeating it is harmless and finishes it.
  public func set(_ state: KeyState, of account: String, isTrial: Bool) async throws -> Outcome {
    var total = Outcome()
    for _ in 0..<Self.passLimit {
      var pass = Outcome()
      pass.unreadable = try await connection.eachStoredKey(layout, until: deadline) { keys in
        let ours = keys.filter { $0.record.account == account }
        pass.keys += ours.count
        pass.staysRevoked += state == .revoked ? 0 : ours.count { $0.record.state == .revoked }
        var rest = ours.filter { $0.record.state != state && $0.record.state != .revoked }[...]
        if isTrial {
          pass.changed += rest.count
          return
        }
        while !rest.isEmpty {
          let batch = rest.prefix(KeyStoreWriter.batchLimit)
          rest = rest.dropFirst(batch.count)
          let writer = KeyStoreWriter(
            connection: connection, layout: layout, deadline: try StepLimit.next(until: deadline))
          let outcomes = try await writer.apply(
            batch.map { stored in
              KeyEdit(
                key: stored.key, kind: .setState(state), allowing: state == .active ? [] : .end, onlyOf: account)
            })
          pass.changed += outcomes.changed
          pass.version = outcomes.version
        }
      }
      let changed = pass.changed
      pass.changed += total.changed
      pass.version = pass.version ?? total.version
      total = pass
      if isTrial || changed == 0 { break }
    }
    return total
  }
}
