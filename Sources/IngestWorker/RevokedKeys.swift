// Finds payloads whose key has been revoked since the payload was accepted, for workers that discard such payloads.
// Discarding loses a payload permanently, so like a refusal it needs a proof, from a replica like the nodes'. Without a
// proof the payload is stored.

internal import IngestQueue
internal import KeyReplica
public import KeyStore
internal import NIOCore

/// Proves which keys were revoked, from a mirror of the key store.
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

  /// The proofs of revocation, by the key's ID as it is in an envelope. Keys that weren't revoked have none.
  ///
  /// A suspended key may become active again, and nothing proves that an unknown key was revoked. Payloads of both are
  /// stored.
  func proofs(for keys: Set<String>) async -> [String: Proof] {
    // All proofs are requested before waiting for any: they share one read of the store, and its deadline if the store
    // is unreachable.
    let asked = keys.compactMap { key -> (String, EventLoopFuture<Verdict>)? in
      guard let id = KeyID(hex: key), replica.admits(id) == nil else { return nil }
      return (key, replica.verdict(of: id))
    }
    var proofs: [String: Proof] = [:]
    for (key, verdict) in asked {
      // This fails only if the process ends, and then nothing is proven.
      if case .refuse(.revokedKey, let proof)? = try? await verdict.get() { proofs[key] = proof }
    }
    return proofs
  }
}
