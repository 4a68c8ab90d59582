// Limits how many payloads an account may send, if an operator sets a limit: a token bucket for each account, for the
// whole node. Load balancers spread an account over nodes, so the fleet's limit is the sum of the nodes' limits.
// Rejected: a count that the nodes share. It would cost each push a round trip to a store.

internal import KeyReplica
internal import Synchronization

/// Counts accounts' pushes, from any thread.
final class AccountRates: Sendable {
  private struct Bucket {
    var tokens: Double
    var at: Instant
  }

  private struct Accounts {
    var buckets: [String: Bucket] = [:]
    /// If there are more buckets than this, full ones are removed.
    var many: Int
  }

  private let perSecond: Double
  /// Maximum pushes that may arrive at once after a pause.
  private let burst: Double
  /// The status for pushes beyond the rate; nil for the dialect's own.
  let status: TooFastStatus?
  /// Number of accounts that always stay in the table.
  private let remembered: Int
  private let state: Mutex<Accounts>

  /// - Parameters:
  ///   - perSecond: Pushes per second. The burst is twice that.
  ///   - remembered: If there are more accounts than this, those with a full bucket are removed from time to time.
  init(perSecond: Int, status: TooFastStatus? = nil, remembered: Int = 100_000) {
    self.perSecond = Double(perSecond)
    burst = Double(perSecond) * 2
    self.status = status
    self.remembered = remembered
    state = Mutex(Accounts(many: remembered))
  }

  /// The number of accounts in the table.
  var accounts: Int { state.withLock(\.buckets.count) }

  /// Counts one push of an account, unless the account exceeds its rate.
  func isExceeded(by account: String, now: Instant) -> Bool {
    state.withLock { state in
      let bucket = state.buckets[account]
      if bucket == nil, state.buckets.count >= state.many {
        state.buckets = state.buckets.filter { self.tokens(of: $0.value, now: now) < burst }
        // If most buckets aren't full, they aren't searched again for each new account.
        state.many = max(remembered, 2 * state.buckets.count)
      }
      let tokens = bucket.map { self.tokens(of: $0, now: now) } ?? burst
      guard tokens >= 1 else { return true }
      // Threads may arrive here in another order than they read the clock.
      state.buckets[account] = Bucket(tokens: tokens - 1, at: max(now, bucket?.at ?? now))
      return false
    }
  }

  /// Cancels the count of a push that wasn't accepted after all. An account that retries during an outage isn't too
  /// fast.
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
