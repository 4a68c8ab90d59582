// The waits between attempts, drawn from numbers that are passed in.

/// Exponential backoff with full jitter: every wait from zero to the bound is as likely as any other, which spreads a crowd of
/// clients best. Waiting about the bound would have them all come back together.
struct Backoff {
  let first: Duration
  let longest: Duration

  /// What the wait is drawn below after so many failures, at least one.
  func bound(after failures: Int) -> Duration {
    min(longest, first * (1 << min(max(failures, 1) - 1, 30)))
  }

  func wait(after failures: Int, using random: inout some RandomNumberGenerator) -> Duration {
    bound(after: failures) * Double.random(in: 0...1, using: &random)
  }
}
