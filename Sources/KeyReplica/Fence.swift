// Prevents a deposed primary from proving anything. In a replicated store, a server that was the primary may go on
// answering, and calling itself primary, for seconds after another has taken over. Its answers are then about data that
// nobody writes to any more. But it can't get confirmations of the other servers, because they follow the new primary.
//
// So a small write precedes a read that a refusal rests on, and a majority of the servers must have confirmed this
// write before the read counts. And a change counts as made only when all of them have it (the publisher's side, in
// KeyStore): with a majority on both sides, an old primary and a third server that still follows it could confirm a
// change that is lost when the third follows the new one.

//
// An operator declares how many other servers there are. If nobody has, ReplicaSigns says whether there may be any.

/// The other servers' confirmations when a store's position was read.
public struct Fence: Sendable, Hashable {
  /// How many replicas have confirmed a write that was made after the read was requested.
  public var confirmations: Int
  /// The signs of other servers.
  public var signs: ReplicaSigns
  /// Why the write wasn't made or not waited for, as text.
  public var failure: String?

  public init(confirmations: Int, signs: ReplicaSigns, failure: String? = nil) {
    self.confirmations = confirmations
    self.signs = signs
    self.failure = failure
  }

  /// For a single Redis, which is its own majority.
  public static let single = Fence(confirmations: 0, signs: .none)

  /// How many replicas must confirm, out of those that could become primary: with the primary they are a majority of
  /// the servers.
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
