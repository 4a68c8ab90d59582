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

  private let perSecond: Double
  /// What may come at once after a pause.
  private let burst: Double
  private let status: TooFastStatus
  private let buckets = Mutex<[String: Bucket]>([:])

  /// Accounts that are remembered at most; then those that have a whole burst to their credit again are forgotten.
  private static let mostBuckets = 100_000

  /// - Parameter perSecond: Pushes a second; twice as many may come at once.
  init(perSecond: Int, status: TooFastStatus) {
    self.perSecond = Double(perSecond)
    burst = Double(perSecond) * 2
    self.status = status
  }

  /// Counts one push of an account.
  /// - Returns: nil, or what it hears because that is too much.
  func excess(of account: String, now: Instant) -> TooFastStatus? {
    let isWithin = buckets.withLock { buckets in
      if buckets.count >= Self.mostBuckets, buckets[account] == nil {
        buckets = buckets.filter { self.tokens(of: $0.value, now: now) < burst }
      }
      let tokens = buckets[account].map { self.tokens(of: $0, now: now) } ?? burst
      guard tokens >= 1 else { return false }
      buckets[account] = Bucket(tokens: tokens - 1, at: now)
      return true
    }
    return isWithin ? nil : status
  }

  private func tokens(of bucket: Bucket, now: Instant) -> Double {
    min(burst, bucket.tokens + max(0, (now - bucket.at).fractionalSeconds) * perSecond)
  }
}
