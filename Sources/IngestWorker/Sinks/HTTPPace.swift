// How long a receiver takes to accept a payload, by account. A receiver may be slow with one account's payloads and
// quick with all others. Then that account is compared with the others' time, not the others with that account's time.

struct HTTPPace {
  private struct Account {
    var typical: Duration
    var at: ContinuousClock.Instant
  }

  private var accounts: [String: Account] = [:]
  /// The time of the account with the quickest answers.
  private(set) var typical: Duration?

  /// With more accounts than this all times are discarded and measured again.
  private static let most = 256
  /// After this time without a payload an account is no longer counted.
  private static let memory = Duration.seconds(60)

  mutating func note(_ account: String, _ taken: Duration, at now: ContinuousClock.Instant) {
    if accounts.count >= Self.most, accounts[account] == nil {
      accounts = accounts.filter { now - $0.value.at < Self.memory }
      if accounts.count >= Self.most { accounts = [:] }
    }
    let typical = accounts[account].map { ($0.typical * 7 + taken) / 8 } ?? taken
    accounts[account] = Account(typical: typical, at: now)
    self.typical = accounts.values.lazy.filter { now - $0.at < Self.memory }.map(\.typical).min()
  }
}
