/// How much of the key store is mirrored and verified. It is a live value, never a latch, and says nothing about the
/// mirror's age.
public struct Completeness: Codable, Sendable, Hashable {
  public enum State: String, Codable, Sendable, CaseIterable {
    /// Nothing was ever read.
    case empty
    /// Read from the node's own disk, and not yet compared with the store.
    case restored
    /// Being read, or not yet followed to a common version.
    case loading
    /// The whole store at one version, every bucket and the total verified.
    case complete
    /// Complete, but more keys would be removed than was agreed. These keys stay admitted until an operator confirms
    /// their removal.
    case guarded
    /// The store's data contradict each other or the mirror, or the store has vanished. Keys are still admitted from
    /// the mirror.
    case diverged
    /// The store is of a kind that this build doesn't understand.
    case incompatible
  }

  public var state: State
  /// Buckets whose count and digest were verified.
  public var verified: Int
  /// Number of all buckets.
  public var total: Int

  public init(state: State, verified: Int, total: Int) {
    self.state = state
    self.verified = verified
    self.total = total
  }
}
