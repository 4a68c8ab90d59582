// How many bytes each account has in one part of a shard: its dead letters, or its payloads that wait for a retry. Both
// may stay for long, so nodes limit them for each account (AccountQuota).
//
// The scripts keep each sum in a sorted set, in the step that adds or removes payloads: dead letters in
// `add_dead_bytes.lua`, retries in `add_later_bytes.lua`. The set has a member for each account, named `of:` and its
// name. An entry that isn't an envelope has no account, and counts for the account with the empty name. The set of dead
// letters also has one for the total, `all`.
//
// Rejected: adding up the entries for each reading. That would read every payload.

internal import Hiredis

/// Bytes of a shard's dead letters, or of its payloads that wait for a retry, by account.
public struct AccountBytes: Sendable, Equatable {
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
