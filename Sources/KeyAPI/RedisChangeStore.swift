// The key store in Redis, with two connections that stay open. One is for changes and reads of single keys. The other
// one is for reading the whole store: with a million keys that takes a second, and other requests mustn't wait for it.

internal import Hiredis
package import KeyReplica
package import KeyStore
package import NIOCore
package import RedisClient

package struct RedisChangeStore: ChangeStore {
  /// Maximum wait of a request for a lost connection. Most restarts of Redis are shorter. During a longer one the
  /// client is answered 503 before its own deadline.
  private static let connectWait = TimeAmount.seconds(1)
  /// Maximum wait for Redis's answer to one step.
  private static let deadline = TimeAmount.seconds(5)

  private let client: RedisClient
  private let surveys: RedisClient
  private let layout: StoreLayout
  private let confirmWait: TimeAmount

  /// - Parameters:
  ///   - client: The connection for changes and reads of single keys.
  ///   - surveys: The connection for reading the whole store.
  ///   - confirmWait: Maximum wait for the declared replicas' confirmation of a change.
  package init(client: RedisClient, surveys: RedisClient, layout: StoreLayout, confirmWait: Duration) {
    self.client = client
    self.surveys = surveys
    self.layout = layout
    self.confirmWait = TimeAmount(confirmWait)
  }

  package func carryOut(_ calls: [ChangeCall]) async -> ChangeRound {
    let connection: RedisConnection
    do {
      connection = try await client.connection(within: Self.connectWait).get()
    } catch {
      return ChangeRound(outcomes: calls.map { _ in .failure(error) })
    }
    let writer = KeyStoreWriter(connection: connection, layout: layout, deadline: Self.deadline)
    // All calls are sent before the first answer is awaited.
    let answers = calls.map { writer.submit($0.edits, basedOn: $0.basis) }
    var round = ChangeRound(outcomes: [])
    for answer in answers {
      do { round.outcomes.append(.success(try await answer.get())) } catch { round.outcomes.append(.failure(error)) }
    }
    await followSlot(ifMovedIn: round.outcomes)
    if round.outcomes.contains(where: { if case .success = $0 { true } else { false } }) {
      round.unconfirmed = await objection(on: connection)
    }
    return round
  }

  /// The record of a key, or nil if the store has none.
  /// - Throws: If the record couldn't be read. nil never stands for such a failure.
  package func record(of key: KeyID) async throws -> StoreAnswer<KeyRecord?> {
    let connection = try await client.connection(within: Self.connectWait).get()
    return try await following {
      switch try await connection.storePosition(layout) {
      case .found: .found(try await connection.storedRecord(of: key, layout))
      case .noStore: .noStore
      case .incompatible(let why): .incompatible(why)
      }
    }
  }

  /// The store's position.
  package func position() async throws -> StoreAnswer<StorePosition> {
    let connection = try await client.connection(within: Self.connectWait).get()
    return try await following { try await connection.storePosition(layout) }
  }

  /// Changes the state of all keys of an account.
  /// - Parameters:
  ///   - isTrial: Whether the keys are only counted.
  ///   - deadline: After it no further step is begun. It doesn't include the confirmation by replicas.
  /// - Returns: The result, and why the changes aren't confirmed; nil if they are.
  package func set(
    _ state: KeyState, ofAccount account: String, isTrial: Bool, until deadline: NIODeadline
  ) async throws -> (outcome: AccountKeys.Outcome, unconfirmed: String?) {
    let connection = try await surveys.connection(within: Self.connectWait).get()
    let outcome = try await following {
      try await AccountKeys(connection: connection, layout: layout, deadline: deadline).set(
        state, of: account, isTrial: isTrial)
    }
    return (outcome, isTrial ? nil : await objection(on: connection))
  }

  /// Why the changes so far aren't confirmed; nil if they are.
  private func objection(on connection: RedisConnection) async -> String? {
    do {
      let replication = Replication(connection: connection, layout: layout, isWatched: client.endpoint.isWatched)
      return try await replication.confirm(within: confirmWait).objection
    } catch {
      return "\(error)"
    }
  }

  /// Runs a read or a change of the store. If Redis answers that the slot has moved, the clients look for its new node.
  private func following<Answer>(_ body: () async throws -> Answer) async throws -> Answer {
    do {
      return try await body()
    } catch let error as RedisServerError where error.isOfMovingSlot {
      await followSlot()
      throw error
    }
  }

  private func followSlot(ifMovedIn outcomes: [Result<EditOutcome, any Error>]) async {
    let moved = outcomes.contains { outcome in
      if case .failure(let error as RedisServerError) = outcome { error.isOfMovingSlot } else { false }
    }
    if moved { await followSlot() }
  }

  /// Makes the clients look for the slot's new node. The requests that failed because of the move are answered 503.
  private func followSlot() async {
    for client in [client, surveys] {
      do {
        _ = try await client.send(RedisCommand("EXISTS", layout.meta), within: Self.connectWait).get()
      } catch {
        // The next request gets the error.
      }
    }
  }
}
