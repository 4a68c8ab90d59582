// Which accounts have been sending much lately, in payloads or in bytes: pure, and approximate on purpose. Each event
// loop counts its own pushes. A flood uses many connections, so every event loop sees it.
//
// Counters are indexed by a hash of the account's name. They cost some nanoseconds a push, and a constant number of
// bytes for any number of accounts. An account that shares its counter with a flood is treated like the flood. That is
// one account in 256, and it matters only if the account shares both of the flood's lists as well. All counters are
// halved from time to time, so that recent pushes count most.

/// Approximate counts by account, which decay.
struct HeavySenders {
  /// Payloads and bytes.
  private struct Amounts {
    var payloads = 0
    var bytes = 0
  }

  private static let counters = 256
  /// An account with at least one part in this number sends much.
  private static let share = 8
  /// All counters are halved once either sum reaches this.
  private static let span = Amounts(payloads: 2_048, bytes: 64 << 20)
  /// If both sums are below this, no account sends much.
  private static let evidence = Amounts(payloads: 256, bytes: 8 << 20)

  private var counts = [Amounts](repeating: Amounts(), count: counters)
  private var total = Amounts()

  /// Counts a payload, and returns whether its account sends much.
  /// - Parameter hash: The account's hash, with well mixed bits.
  mutating func note(_ hash: UInt64, bytes: Int) -> (manyPayloads: Bool, manyBytes: Bool) {
    // Use other bits of the hash than the choice of the account's lists.
    let counter = Int(hash >> 16) & (Self.counters - 1)
    var own = counts[counter]
    own.payloads += 1
    own.bytes += bytes
    counts[counter] = own
    total.payloads += 1
    total.bytes += bytes
    let manyPayloads = total.payloads >= Self.evidence.payloads && own.payloads * Self.share >= total.payloads
    let manyBytes = total.bytes >= Self.evidence.bytes && own.bytes * Self.share >= total.bytes
    if total.payloads >= Self.span.payloads || total.bytes >= Self.span.bytes { forget() }
    return (manyPayloads, manyBytes)
  }

  private mutating func forget() {
    total = Amounts()
    for counter in counts.indices {
      counts[counter].payloads /= 2
      counts[counter].bytes /= 2
      total.payloads += counts[counter].payloads
      total.bytes += counts[counter].bytes
    }
  }
}
