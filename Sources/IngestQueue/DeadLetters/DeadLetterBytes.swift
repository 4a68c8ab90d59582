// How many bytes of dead letters each account has in a shard.
//
// Dead letters are never dropped, because they were acknowledged. So the limit applies to new pushes of an account with
// many dead letters, and nodes have to know how many each account has. The bytes of a dead letter are those of all its
// fields, so that many small ones count as well.
//
// The set can differ from the stream if the stream is deleted by hand. Then readers treat the set as empty, and the
// next dead letter starts a new set. Single entries that were removed by hand count until the stream is empty.

internal import Hiredis
internal import NIOCore
public import RedisClient

extension AccountBytes {
  /// Reads the accounts with the most bytes. Writes nothing.
  /// - Parameter most: Maximum accounts.
  public static func ofDeadLetters(
    from client: RedisClient, layout: QueueLayout = QueueLayout(), accounts most: Int = mostAccounts,
    within limit: Duration = .seconds(5)
  ) async throws(QueueFailure) -> AccountBytes {
    let script = DeadLetterBytesScript(layout: layout, accounts: most)
    let reply: RedisReply
    do {
      reply = try await client.execute(script, within: .nanoseconds(limit.milliseconds * 1_000_000))
    } catch {
      throw QueueFailure(error)
    }
    return try QueueFailure.catching { try script.read(reply) }
  }
}
