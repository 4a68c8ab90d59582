// The waits between attempts, from random numbers that are passed in.

/// Exponential backoff with full jitter: every wait from zero to the bound is equally likely, which spreads many
/// clients best. With waits near the bound they would all return together.
struct Backoff {
  let first: Duration
  let longest: Duration

  /// The bound of the random wait after this number of failures, at least one.
  func bound(after failures: Int) -> Duration {
    min(longest, first * (1 << min(max(failures, 1) - 1, 30)))
  }

  func wait(after failures: Int, using random: inout some RandomNumberGenerator) -> Duration {
    bound(after: failures) * Double.random(in: 0...1, using: &random)
  }
}
