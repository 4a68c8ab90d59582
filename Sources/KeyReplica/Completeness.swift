/// How much of the key store is mirrored and verified. A live value, never a latch: it says nothing about the mirror's age.
public struct Completeness: Codable, Sendable, Hashable {
  public enum State: String, Codable, Sendable, CaseIterable {
    /// Nothing was ever read.
    case empty
    /// Read from the node's own disk, and not compared with the store yet.
    case restored
    /// Being read, or not followed to one version yet.
    case loading
    /// The whole store at one version, every bucket and the total verified.
    case complete
    /// Complete, but more keys would be removed than was agreed to: those stay admitted until an operator has
    /// confirmed.
    case guarded
    /// What the store says doesn't fit together or not with the mirror, or the store has vanished. What was mirrored goes on serving.
    case diverged
    /// The store is of a kind that this build doesn't understand.
    case incompatible
  }

  public var state: State
  /// Buckets whose count and digest were verified.
  public var verified: Int
  /// Buckets in all.
  public var total: Int

  public init(state: State, verified: Int, total: Int) {
    self.state = state
    self.verified = verified
    self.total = total
  }
}
