// Whether a payload's key has been revoked since it was accepted, for workers that are to discard such payloads. Discarding loses a payload
// for good, so it needs what a refusal needs: a proof, by the same replica that the nodes have. Whatever can't be proven now is stored.

internal import IngestQueue
internal import KeyReplica
public import KeyStore
internal import NIOCore

/// Knows which keys were revoked, from a mirror of the key store.
public struct RevokedKeys: Sendable {
  private let replica: ReplicaDriver

  /// - Parameter replica: Has been started.
  public init(_ replica: ReplicaDriver) { self.replica = replica }

  /// Waits until the mirror is whole, or for so long: a worker that begins at once would store what it is to discard.
  func becomeComplete(within limit: Duration) async {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
      // It fails only where the process ends.
      guard let status = try? await replica.status().get(), status.objection != nil else { return }
      do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
    }
  }

  /// The proofs for those of the keys that are revoked, by the key's id as it is in an envelope.
  ///
  /// A suspended key may come back, and of an unknown one nothing proves that it was revoked: both are stored.
  func proofs(for keys: Set<String>) async -> [String: Proof] {
    // All asked before any is waited for: they share one read of the store, and its deadline where it is away.
    let asked = keys.compactMap { key -> (String, EventLoopFuture<Verdict>)? in
      guard let id = KeyID(hex: key), replica.admits(id) == nil else { return nil }
      return (key, replica.verdict(of: id))
    }
    var proofs: [String: Proof] = [:]
    for (key, verdict) in asked {
      // It fails only where the process ends, and then nothing is proven.
      if case .refuse(.revokedKey, let proof)? = try? await verdict.get() { proofs[key] = proof }
    }
    return proofs
  }
}
