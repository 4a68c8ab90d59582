// How many bytes of dead letters each account has in a shard.
//
// Dead letters are never dropped, because they were acknowledged. So the limit applies to new pushes of an account with
// many dead letters, and nodes have to know how many each account has. The scripts that add dead letters to the stream
// or remove them keep the sum in a sorted set, in the same step (add_dead_bytes.lua).
//
// The set has a member for each account, named `of:` and its name, and one for the total, `all`. An entry that isn't an
// envelope has no account, and counts for the account with the empty name. The bytes of a dead letter are those of all
// its fields, so that many small ones count as well.
//
// The set can differ from the stream if the stream is deleted by hand. Then readers treat the set as empty, and the
// next dead letter starts a new set. Single entries that were removed by hand count until the stream is empty.
//
// Rejected: adding up the entries for each reading. That would read every payload.

internal import Hiredis
internal import NIOCore
public import RedisClient

/// Bytes of a shard's dead letters, by account.
public struct DeadLetterBytes: Sendable, Equatable {
  public struct Account: Sendable, Equatable {
    public var name: String
    public var bytes: Int64

    public init(name: String, bytes: Int64) {
      self.name = name
      self.bytes = bytes
    }
  }

  /// The total of all accounts.
  public var all: Int64
  /// The accounts with the most bytes, the first one with the most of all. At most ``mostAccounts``.
  public var accounts: [Account]

  /// Maximum accounts to read.
  public static let mostAccounts = 1_000

  public init(all: Int64 = 0, accounts: [Account] = []) {
    self.all = all
    self.accounts = accounts
  }

  /// Reads the accounts with the most bytes. Writes nothing.
  /// - Parameter most: Maximum accounts.
  public static func read(
    from client: RedisClient, layout: QueueLayout = QueueLayout(), accounts most: Int = mostAccounts,
    within limit: Duration = .seconds(5)
  ) async throws(QueueFailure) -> DeadLetterBytes {
    let script = DeadLetterBytesScript(layout: layout, accounts: most)
    let reply: RedisReply
    do {
      reply = try await client.execute(script, within: .nanoseconds(limit.milliseconds * 1_000_000))
    } catch {
      throw QueueFailure(error)
    }
    return try QueueFailure.catching { try script.read(reply) }
  }

  /// Reads members and their scores, which alternate, and adds the scores up.
  init(membersWithoutTotal items: [RedisReply]) throws {
    try self.init(members: items)
    all = accounts.reduce(0) { $0 + $1.bytes }
  }

  /// Reads members and their scores, which alternate.
  init(members items: [RedisReply]) throws {
    self.init()
    for index in stride(from: 0, to: items.count, by: 2) {
      let member = String(decoding: try items.item(index).bytes(), as: UTF8.self)
      let score = try items.item(index + 1).string()
      guard let bytes = Double(score), bytes >= 0, bytes <= Double(Int64.mostCounted) else {
        throw UnexpectedReply(expected: "a number of bytes", came: "\"\(score.prefix(100))\"")
      }
      if member == "all" {
        all = Int64(bytes)
      } else {
        accounts.append(Account(name: String(member.dropFirst("of:".count)), bytes: Int64(bytes)))
      }
    }
  }
}
