// How much an account may send, where an operator bounds it: a bucket of tokens for each account, for the whole node. Balancers spread an
// account over nodes, so the bound of a fleet is so many times higher; a count that nodes share would put a store's round trip
// before every push.

internal import KeyReplica
internal import Synchronization

/// Counts what accounts send, from any thread.
final class AccountRates: Sendable {
  private struct Bucket {
    var tokens: Double
    var at: Instant
  }

  private struct Accounts {
    var buckets: [String: Bucket] = [:]
    /// From so many on, those that may be forgotten are looked for.
    var many: Int
  }

  private let perSecond: Double
  /// What may come at once after a pause.
  private let burst: Double
  /// What an account hears beyond its rate; nil for what the dialect's clients bear.
  let status: TooFastStatus?
  /// Accounts that are remembered in any case.
  private let remembered: Int
  private let state: Mutex<Accounts>

  /// - Parameters:
  ///   - perSecond: Pushes a second; twice as many may come at once.
  ///   - remembered: Where there are more accounts, those that have a whole burst to their credit again are forgotten now and then.
  init(perSecond: Int, status: TooFastStatus? = nil, remembered: Int = 100_000) {
    self.perSecond = Double(perSecond)
    burst = Double(perSecond) * 2
    self.status = status
    self.remembered = remembered
    state = Mutex(Accounts(many: remembered))
  }

  /// How many are remembered now.
  var accounts: Int { state.withLock(\.buckets.count) }

  /// Counts one push of an account, unless it is too much.
  func isExceeded(by account: String, now: Instant) -> Bool {
    state.withLock { state in
      let bucket = state.buckets[account]
      if bucket == nil, state.buckets.count >= state.many {
        state.buckets = state.buckets.filter { self.tokens(of: $0.value, now: now) < burst }
        // Where most are busy, looking at all of them isn't for each newcomer.
        state.many = max(remembered, 2 * state.buckets.count)
      }
      let tokens = bucket.map { self.tokens(of: $0, now: now) } ?? burst
      guard tokens >= 1 else { return true }
      // Threads may come in another order than they read the clock in.
      state.buckets[account] = Bucket(tokens: tokens - 1, at: max(now, bucket?.at ?? now))
      return false
    }
  }

  /// Takes back the count of a push that wasn't taken after all. An account that tries again during an outage isn't too fast.
  func giveBack(to account: String) {
    state.withLock { state in
      guard let bucket = state.buckets[account] else { return }
      state.buckets[account] = Bucket(tokens: min(burst, bucket.tokens + 1), at: bucket.at)
    }
  }

  private func tokens(of bucket: Bucket, now: Instant) -> Double {
    min(burst, bucket.tokens + max(0, (now - bucket.at).fractionalSeconds) * perSecond)
  }
}
