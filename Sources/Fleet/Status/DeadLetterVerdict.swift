// The problems with dead letters, for both verdicts. An account's limit depends on settings that only nodes know. So
// the number of refused accounts and the size limit are from the nodes' reports, and the accounts' names are from
// Redis.

import IngestQueue
import KeyReplica

enum DeadLetterVerdict {
  /// Dead letters may use this fraction (one in 4) of the payloads' size limit before an operator has to act.
  static let share: Int64 = 4
  /// Maximum accounts with a line of their own in a shard.
  private static let named = 3

  /// - Parameter bytes: By the shards' numbers.
  static func wrong(_ nodes: [Member<NodeReport>], _ bytes: [Int: AccountBytes]) -> [String] {
    var reports: [Int: NodeReport.Shard] = [:]
    for node in nodes where node.isLive {
      for shard in node.report.queue.shards {
        // All nodes read the same data. A node with an older reading reports fewer refused accounts.
        if (reports[shard.shard]?.refusedAccounts ?? -1) < (shard.refusedAccounts ?? 0) { reports[shard.shard] = shard }
      }
    }
    return reports.sorted { $0.key < $1.key }.flatMap { number, shard in
      refused(shard, bytes[number]?.accounts.filter { !$0.name.isEmpty } ?? []) + total(shard)
    }
  }

  private static func refused(_ shard: NodeReport.Shard, _ accounts: [AccountBytes.Account]) -> [String] {
    guard let count = shard.refusedAccounts, count > 0 else { return [] }
    let known = accounts.prefix(min(count, named))
    var lines = known.map { account in
      "pushes of \(account.name) aren't accepted (too_many_dead_letters): it has \(amount(account.bytes)) of dead letters in "
        + "shard \(shard.shard). See sync-status dead --account \(account.name), then requeue or discard them"
    }
    let rest = count - known.count
    if rest > 0 {
      lines.append(
        "pushes of \(known.isEmpty ? "" : "another ")\(Wording.number(rest, "account")) aren't accepted "
          + "(too_many_dead_letters in shard \(shard.shard)). See sync-status dead")
    }
    return lines
  }

  private static func total(_ shard: NodeReport.Shard) -> [String] {
    guard let dead = shard.deadBytes, let room = shard.roomBytes, dead > room / share else { return [] }
    return [
      "dead letters take \(amount(dead)) of the \(amount(room)) that shard \(shard.shard) has for payloads: see "
        + "sync-status dead, then requeue or discard them"
    ]
  }

  private static func amount(_ bytes: Int64) -> String { Wording.bytes(UInt64(max(bytes, 0))) }
}
