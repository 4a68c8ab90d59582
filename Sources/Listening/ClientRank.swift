// Two parts of the choice which connection is closed for a new one: see ConnectionLimiter.

internal import ClientAddress
internal import DequeModule

/// Clients of the same weight. The client that has had its number of connections for longest is first. In any other
/// order, such as that of a hash, some clients would lose their connections again and again and others never.
struct ClientRank {
  typealias Entry = (client: IPAddress?, since: UInt64)

  var count = 0
  /// The clients. Entries with another sequence number than the client's are out of date.
  var strangers: Deque<Entry> = []
  var known: Deque<Entry> = []

  mutating func append(_ entry: Entry, isKnown: Bool) {
    if isKnown { known.append(entry) } else { strangers.append(entry) }
  }

  mutating func popFirst() -> Entry? { strangers.popFirst() ?? known.popFirst() }
}

/// The networks that have shown an active key lately.
struct KnownNetworks {
  let limit: Int
  private var shown: [IPAddress: UInt64] = [:]
  /// The one that has shown a key for the last time longest ago is first. Entries with another sequence number than
  /// the network's are out of date.
  private var order: Deque<(network: IPAddress, number: UInt64)> = []

  init(limit: Int) { self.limit = limit }

  func contains(_ network: IPAddress?) -> Bool { network.map { shown[$0] != nil } ?? false }

  mutating func note(_ network: IPAddress, _ number: UInt64) {
    shown[network] = number
    order.append((network, number))
    while shown.count > limit || order.count > 2 * limit, let first = order.popFirst() {
      if shown[first.network] == first.number { shown[first.network] = nil }
    }
  }
}
