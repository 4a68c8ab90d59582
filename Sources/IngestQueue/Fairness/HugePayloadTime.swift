// Limits the time of Redis that each account's huge payloads take: pure.
//
// While Redis writes a payload of 16 MB to its append-only file and its disk, it answers no other command. On a slow
// disk that takes a second. One account that pushed such a payload every two seconds made all accounts' pushes fail.
// The harmful size depends on the disk, so the time is limited: an eighth for each account on each event loop. On a
// fast disk no account reaches the limit.

internal import NIOCore

struct HugePayloadTime {
  /// An account may use one part in this number of Redis's time.
  static let share: Int64 = 8
  /// An account may exceed its share by this time.
  static let credit = TimeAmount.seconds(1)
  /// Maximum accounts in the table.
  private static let most = 1_024

  private struct Debt {
    var nanoseconds: Int64
    var at: NIODeadline

    func left(at now: NIODeadline) -> Int64 { max(0, nanoseconds - (now - at).nanoseconds / HugePayloadTime.share) }
  }

  /// By the hashes of accounts.
  private var debts: [UInt64: Debt] = [:]

  /// Charges the time that Redis took for a huge payload of an account.
  mutating func charge(_ account: UInt64, _ taken: TimeAmount, at now: NIODeadline) {
    if debts[account] == nil, debts.count >= Self.most {
      debts = debts.filter { $0.value.left(at: now) > 0 }
      // If the table is full of accounts in debt, no further account is charged.
      if debts.count >= Self.most { return }
    }
    let before = debts[account]?.left(at: now) ?? 0
    debts[account] = Debt(nanoseconds: before + taken.nanoseconds, at: now)
  }

  /// - Returns: In how many seconds the account may push a huge payload; nil if it may now.
  func wait(of account: UInt64, at now: NIODeadline) -> Int? {
    guard let excess = debts[account].map({ $0.left(at: now) - Self.credit.nanoseconds }), excess > 0 else {
      return nil
    }
    return Int(excess * Self.share / 1_000_000_000) + 1
  }
}
