// Whether a payload's key has been revoked since the payload was accepted, for workers that discard such payloads.
// Discarding loses a payload for good, so it needs a proof as a refusal does, by a replica like the nodes'. If there is
// no proof now, the payload is stored.

internal import IngestQueue
internal import KeyReplica
public import KeyStore
internal import NIOCore

/// Knows which keys were revoked, from a mirror of the key store.
public struct RevokedKeys: Sendable {
  private let replica: ReplicaDriver

  /// - Parameter replica: Must have been started.
  public init(_ replica: ReplicaDriver) { self.replica = replica }

  /// Waits until the mirror is complete, up to this time: without it a worker that begins at once would store payloads
  /// that it should discard.
  func becomeComplete(within limit: TimeAmount) async {
    // It fails only where the process ends.
    try? await replica.canRefuse(within: limit).get()
  }

  /// The proofs for the revoked ones of the keys, by the key's ID as it is in an envelope.
  ///
  /// A suspended key may become active again, and for an unknown one nothing proves that it was revoked. Payloads of
  /// both are stored.
  func proofs(for keys: Set<String>) async -> [String: Proof] {
    // All are asked before waiting for any: they share one read of the store, and its deadline if the store is
    // unreachable.
    let asked = keys.compactMap { key -> (String, EventLoopFuture<Verdict>)? in
      guard let id = KeyID(hex: key), replica.admits(id) == nil else { return nil }
      return (key, replica.verdict(of: id))
    }
    var proofs: [String: Proof] = [:]
    for (key, verdict) in asked {
      // It fails only if the process ends, and then nothing is proven.
      if case .refuse(.revokedKey, let proof)? = try? await verdict.get() { proofs[key] = proof }
    }
    return proofs
  }
}
