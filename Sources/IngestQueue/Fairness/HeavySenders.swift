// Who has been sending much lately, in payloads or in bytes: pure, and rough on purpose. Each event loop looks at its own pushes; a flood
// comes over many connections, so it is one on every loop.
//
// Counters by hash instead of by name: they cost some nanoseconds a push, and a constant number of bytes however many accounts
// there are. An account that shares its counter with a flood is taken for one, which is one in 256 and harms it only where it
// shares both of the flood's lists as well. Half of everything is forgotten again and again, so what counts is the recent past.

/// Counts by account, roughly, and forgets.
struct HeavySenders {
  /// How much there is of each.
  private struct Amounts {
    var payloads = 0
    var bytes = 0
  }

  private static let counters = 256
  /// An account with at least one part in so many sends much.
  private static let share = 8
  /// Half of what was counted is forgotten once either is as much as this.
  private static let span = Amounts(payloads: 2_048, bytes: 64 << 20)
  /// Of less than this nothing is concluded.
  private static let evidence = Amounts(payloads: 256, bytes: 8 << 20)

  private var counts = [Amounts](repeating: Amounts(), count: counters)
  private var total = Amounts()

  /// Notes a payload, and says whether its account sends much.
  /// - Parameter hash: Of the account, all of its bits mixed.
  mutating func note(_ hash: UInt64, bytes: Int) -> (manyPayloads: Bool, manyBytes: Bool) {
    // Other bits than those that choose the account's lists.
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
