// What a node was told of operators' confirmations, and which keys it had since. An operator confirms that keys are
// meant to be gone. That counts for what the node misses by the time it has the whole store, and never for what is lost
// later.

import KeyReplica

/// The confirmations of removals that one node knows.
struct Confirmations {
  private struct Confirmation: Hashable {
    let epoch: String
    let version: UInt64
  }

  private var known: Set<Confirmation> = []
  /// When the node heard the latest one.
  private var heardAt: Instant?
  /// Whether the latest one still counts: the node hasn't had the whole store since.
  private var isOpen = false
  /// When the node last had each key as active together with the whole store.
  private var hadAt: [Instant?] = Array(repeating: nil, count: SimulatedKeys.all.count)
  /// What the present event tells.
  private var offered: [Confirmation] = []

  /// As the state file has them.
  var restored: Confirmations {
    var restored = self
    restored.isOpen = false
    restored.offered = []
    return restored
  }

  /// An event comes. While the node handles it, its confirmation counts.
  mutating func offer(_ event: Replica.Event) {
    if case .manifest(_, _, .success(.found(let manifest))) = event {
      // In a store that went back another confirmation may get the same version.
      known = known.filter { $0.epoch != manifest.position.epoch || $0.version <= manifest.position.version }
    }
    switch event {
    case .manifest(_, _, .success(.found(let manifest))) where manifest.position.confirmed > 0:
      offered = [Confirmation(epoch: manifest.position.epoch, version: manifest.position.confirmed)]
    case .changes(_, .success(let changes)):
      offered = changes.compactMap { change in
        change.effect == .confirm ? Confirmation(epoch: change.epoch, version: change.version) : nil
      }
    default: offered = []
    }
    offered.removeAll(where: known.contains)
  }

  /// The event has been handled.
  /// - Parameter isTaken: Whether the node went by it.
  mutating func took(
    _ event: Replica.Event, isTaken: Bool, _ status: ReplicaStatus, held: Holdings, at now: Instant
  ) {
    let taken: [Confirmation] =
      switch event {
      case .manifest: isTaken ? offered : []
      case .changes: offered.filter { $0.epoch == status.epoch && $0.version <= status.version }
      default: []
      }
    offered = []
    if !taken.isEmpty {
      known.formUnion(taken)
      heardAt = now
      isOpen = true
    }
    guard [.complete, .guarded].contains(status.completeness.state), status.sealed else { return }
    isOpen = false
    for (number, holding) in held.enumerated() where holding.isActive { hadAt[number] = now }
  }

  /// Whether an operator may have confirmed that this key is gone.
  /// - Parameter since: When the node came to know the key as active.
  func mayCover(_ number: Int, knownSince since: Instant) -> Bool {
    if isOpen || !offered.isEmpty { return true }
    guard let heardAt else { return false }
    return heardAt > max(since, hadAt[number] ?? since)
  }
}
