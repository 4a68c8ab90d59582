// Prevents a deposed primary from proving anything. In a replicated store, a server that was the primary may still
// answer, and report that it is the primary, for seconds after another has taken over. Its answers are then about data
// that no publisher writes to any more. But it can't get confirmations from the other servers, because they follow the
// new primary.
//
// So a small write precedes the read that proves a refusal, and a majority of the servers must confirm this write
// before the read counts. A change counts as made only when all servers have it (the publisher's side, in KeyStore). If
// a majority were enough on both sides, an old primary and a third server that still follows it could confirm a change
// that is lost when the third server follows the new primary.

// An operator declares how many other servers there are. If none is declared, ReplicaSigns decides whether there may be
// others.

/// The other servers' confirmations when a store's position was read.
public struct Fence: Sendable, Hashable {
  /// How many replicas have confirmed a write that was made after the read was requested.
  public var confirmations: Int
  /// Signs of other servers.
  public var signs: ReplicaSigns
  /// Why the write wasn't made, or why WAIT failed, as text.
  public var failure: String?

  public init(confirmations: Int, signs: ReplicaSigns, failure: String? = nil) {
    self.confirmations = confirmations
    self.signs = signs
    self.failure = failure
  }

  /// For a single Redis, which is its own majority.
  public static let single = Fence(confirmations: 0, signs: .none)

  /// How many of the replicas that could become primary must confirm: together with the primary they are a majority of
  /// the servers.
  static func needed(of replicas: Int?) -> Int { replicas.map { ($0 + 1) / 2 } ?? 0 }

  /// Why a read with this fence proves nothing; nil if the fence is valid.
  func objection(declared replicas: Int?) -> String? {
    guard let replicas else { return signs.objection }
    guard confirmations < Self.needed(of: replicas) else { return nil }
    if let failure { return "the replicas can't be asked to confirm this primary: \(failure)" }
    return "only \(1 + confirmations) of \(replicas + 1) servers \(confirmations == 0 ? "confirms" : "confirm") that "
      + "this is the primary, \(1 + Self.needed(of: replicas)) are needed. Restart the missing replicas; "
      + "\(ReplicaSigns.remedy)"
  }
}
