// How much of Redis's time each account's huge payloads take: pure.
//
// While Redis writes a payload of 16 MB to its append-only file and its disk, it answers nobody. On a slow disk that is
// a second, and one account that pushed such a payload every two seconds had everybody's pushes fail. How large a
// payload may be for that depends on the disk, so what is bounded is the time: an eighth for each account on each event
// loop. On a fast disk nobody meets it.

internal import NIOCore

struct HugePayloadTime {
  /// An account may have one part in so many of Redis's time.
  static let share: Int64 = 8
  /// And may be ahead of that by so much.
  static let credit = TimeAmount.seconds(1)
  /// Accounts that are remembered at most.
  private static let most = 1_024

  private struct Debt {
    var nanoseconds: Int64
    var at: NIODeadline

    func left(at now: NIODeadline) -> Int64 { max(0, nanoseconds - (now - at).nanoseconds / HugePayloadTime.share) }
  }

  /// By the accounts' hashes.
  private var debts: [UInt64: Debt] = [:]

  /// Redis has taken so long for a huge payload of an account.
  mutating func charge(_ account: UInt64, _ taken: TimeAmount, at now: NIODeadline) {
    if debts[account] == nil, debts.count >= Self.most {
      debts = debts.filter { $0.value.left(at: now) > 0 }
      // As many that are all in debt: whoever comes now goes free.
      if debts.count >= Self.most { return }
    }
    let before = debts[account]?.left(at: now) ?? 0
    debts[account] = Debt(nanoseconds: before + taken.nanoseconds, at: now)
  }

  /// - Returns: In how many seconds the account may push a huge payload; nil where it may now.
  func wait(of account: UInt64, at now: NIODeadline) -> Int? {
    guard let excess = debts[account].map({ $0.left(at: now) - Self.credit.nanoseconds }), excess > 0 else {
      return nil
    }
    return Int(excess * Self.share / 1_000_000_000) + 1
  }
}
