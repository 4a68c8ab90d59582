// The key store in Redis, over connections that are kept: one for changes and reads of single keys, and one for reading
// the whole store, which takes a second where there are a million keys and must hold up nobody.

internal import Hiredis
package import KeyReplica
package import KeyStore
internal import NIOCore
package import RedisClient

package struct RedisChangeStore: ChangeStore {
  /// How long a request waits for a connection that was lost. Redis is back within it after most restarts; if it isn't,
  /// the caller learns so while its own deadline still runs.
  private static let connectWait = TimeAmount.seconds(1)
  /// How long is waited for Redis's answer to one step.
  private static let deadline = TimeAmount.seconds(5)

  private let client: RedisClient
  private let surveys: RedisClient
  private let layout: StoreLayout
  private let confirmWait: TimeAmount

  /// - Parameters:
  ///   - client: For changes and reads of single keys.
  ///   - surveys: For reading the whole store.
  ///   - confirmWait: How long is waited for declared replicas to confirm a change.
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
    // All of them are on their way before the first is waited for.
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
  /// - Throws: Where it couldn't be read. Never nil for that.
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

  /// Where the store is.
  package func position() async throws -> StoreAnswer<StorePosition> {
    let connection = try await client.connection(within: Self.connectWait).get()
    return try await following { try await connection.storePosition(layout) }
  }

  /// Changes the state of all keys of an account.
  /// - Parameter isTrial: Whether to count only.
  /// - Returns: What was done, and why it isn't confirmed; nil if it is.
  package func set(
    _ state: KeyState, ofAccount account: String, isTrial: Bool
  ) async throws -> (outcome: AccountKeys.Outcome, unconfirmed: String?) {
    let connection = try await surveys.connection(within: Self.connectWait).get()
    let outcome = try await following {
      try await AccountKeys(connection: connection, layout: layout).set(state, of: account, isTrial: isTrial)
    }
    return (outcome, isTrial ? nil : await objection(on: connection))
  }

  /// Why the changes so far aren't confirmed.
  private func objection(on connection: RedisConnection) async -> String? {
    do {
      let replication = Replication(connection: connection, layout: layout, isWatched: client.endpoint.isWatched)
      return try await replication.confirm(within: confirmWait).objection
    } catch {
      return "\(error)"
    }
  }

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

  /// Makes the clients look for the slot's new node. The requests that met it are answered to be sent again.
  private func followSlot() async {
    for client in [client, surveys] {
      do {
        _ = try await client.send(RedisCommand("EXISTS", layout.meta), within: Self.connectWait).get()
      } catch {
        // The next request finds out.
      }
    }
  }
}
