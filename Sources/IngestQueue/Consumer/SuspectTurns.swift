// Decides whose suspects a lane claims next: pure, except that the time is passed in.
//
// Suspects are payloads that a worker had when it died. Only one lane of a worker claims them, a few at a time or
// alone. So suspects of one account that the sink doesn't answer would delay those of all others: two thousand, each
// alone and for ten seconds, take more than five hours.
//
// Accounts take turns by the lane's time, as in start-time fair queueing. Each account is charged for the time that its
// suspects took. Once that is a second or more, its suspects are passed over. Only when no other suspects wait, all
// charges are lowered, until at least one account isn't passed over any more.
//
// Let n accounts have suspects. Let C be the lane's time for all suspects of one of them, and T its longest time for
// one claim. Then these suspects are done after at most n × C + n × (2 × T + 1 s) of the lane's time for suspects.
// Proof: charges are lowered only while all waiting accounts are passed over, this one among them. So while its
// suspects wait, charges are lowered by at most C in total. Another account is claimed from only while its charge is
// below a second, and one claim adds at most T. So it takes at most C + T + 1 s in that time. Claims that aren't
// charged are at most n, each of at most T.
//
// A slow claim with several accounts' suspects doesn't show whose fault it is. It isn't charged, but from then on its
// accounts are apart: they share no claim with others. So there are at most n such claims. As long as no claim is slow,
// accounts share claims. Otherwise thousands of accounts with one suspect each would take as many claims.
//
// Rejected: a turn for each account, whatever time its suspects take. A hundred suspects that take milliseconds would
// wait for a hundred that time out. Also rejected: trying another account's suspects while one isn't answered. If the
// worker dies then, it is unknown which of them is the cause.

/// The turns of accounts in the list of suspects of one shard, for the lane that claims them.
public struct SuspectTurns: Sendable, Equatable {
  private var charges: [String: Duration] = [:]
  private var slow: Set<String> = []

  /// The charge from which on an account's suspects are passed over, and the time from which on a claim is slow.
  static let share = Duration.seconds(1)
  /// Maximum accounts to remember. Beyond that the turns begin anew.
  static let maxAccounts = 1_000

  public init() {}

  /// Accounts whose suspects are passed over, because others are next.
  public var passedOver: Set<String> { Set(charges.filter { $0.value >= Self.share }.keys) }

  /// Accounts whose suspects aren't claimed together with others'.
  public var apart: Set<String> { slow }

  /// Records how long the lane took for a claim of suspects.
  public mutating func note(_ accounts: Set<String>, took time: Duration) {
    guard !accounts.isEmpty else { return }
    if charges.count + slow.count + accounts.count > Self.maxAccounts { self = SuspectTurns() }
    let isSlow = time >= Self.share
    if isSlow { slow.formUnion(accounts) }
    guard accounts.count == 1 || !isSlow else { return }
    for account in accounts { charges[account, default: .zero] += time / accounts.count }
  }

  /// All suspects that wait are passed over: the accounts with the lowest charge are next.
  public mutating func lowerCharges() {
    guard let lowest = charges.values.filter({ $0 >= Self.share }).min() else { return }
    charges = charges.compactMapValues { $0 > lowest ? $0 - lowest : nil }
  }

  /// The same turns, but suspects of these accounts are passed over in any case.
  public func passing(over accounts: Set<String>) -> SuspectTurns {
    var turns = self
    for account in accounts { turns.charges[account] = max(charges[account] ?? .zero, Self.share) }
    return turns
  }
}
