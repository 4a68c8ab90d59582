// What keeps a deposed primary from proving anything. Where a store is replicated, a server that was the primary may go on answering, and
// calling itself primary, for seconds after another has taken its place: what it says of the store is true of a store that nobody writes to
// any more. It can't get the others' word, though: they follow the new one.
//
// So a read that a refusal rests on is preceded by a small write, which a majority of the servers must have confirmed before the read counts.
// And a change counts as made only when all of them have it (the publisher's side, in KeyStore): with a majority on both sides, an old primary
// and a third server that still follows it could confirm a change between them that is lost when the third follows the new one.

//
// How many others there are is what an operator declared. Where nobody has, ReplicaSigns says whether there may be any.

/// What the other servers of a store said when its position was read.
public struct Fence: Sendable, Hashable {
  /// How many replicas have confirmed a write that was made after the read was asked for.
  public var confirmations: Int
  /// What there is of other servers.
  public var signs: ReplicaSigns
  /// Why the write wasn't made or not waited for; in words.
  public var failure: String?

  public init(confirmations: Int, signs: ReplicaSigns, failure: String? = nil) {
    self.confirmations = confirmations
    self.signs = signs
    self.failure = failure
  }

  /// Of a Redis alone, which is its own majority.
  public static let single = Fence(confirmations: 0, signs: .none)

  /// How many replicas must confirm, of so many that could take the primary's place: with the primary they are a majority of the servers.
  static func needed(of replicas: Int?) -> Int { replicas.map { ($0 + 1) / 2 } ?? 0 }

  /// Why nothing is proven by a read with this fence; nil if it holds.
  func objection(declared replicas: Int?) -> String? {
    guard let replicas else { return signs.objection }
    guard confirmations < Self.needed(of: replicas) else { return nil }
    if let failure { return "the other servers can't be asked who the primary is: \(failure)" }
    return "\(1 + confirmations) of \(replicas + 1) servers say that this is the primary, "
      + "\(1 + Self.needed(of: replicas)) must. Bring the replicas back; \(ReplicaSigns.remedy)"
  }
}
