import Testing

@testable import KeyReplica

@Suite struct PurgedChangeTests {
  private static let buckets = 2
  private let kept = KeyID(secret: "kept".utf8)
  private let gone = KeyID(secret: "gone".utf8)

  /// A mirror at version 2 that holds both keys, and the change that purges one of them.
  private func following(_ state: KeyState) -> (mirror: Mirror, purge: Change) {
    var mirror = Mirror(table: KeyTable(bucketCount: Self.buckets))
    let empty = Manifest(
      position: StorePosition(epoch: "e", version: 0, count: 0, digest: .empty, sealed: true),
      buckets: [.empty, .empty], lengths: [0, 0])
    #expect(mirror.compare(with: empty, holdingUntil: nil) == [])
    var held: [KeyID: [UInt8]] = [:]
    func after(_ key: KeyID, _ version: UInt64) -> BucketSummary {
      let same = held.filter { $0.key.bucket(of: Self.buckets) == key.bucket(of: Self.buckets) }
      let digest = same.reduce(into: Digest.empty) { $0 ^= Digest(of: $1.key, record: $1.value) }
      return BucketSummary(count: same.count, digest: digest, version: version)
    }
    func total() -> Digest { held.reduce(into: .empty) { $0 ^= Digest(of: $1.key, record: $1.value) } }
    for (number, (key, state)) in [(kept, KeyState.active), (gone, state)].enumerated() {
      let version = UInt64(number + 1)
      let record = KeyRecord(state: state, since: 7, account: "acme").encoded
      held[key] = record
      let change = Change(
        epoch: "e", version: version, total: total(),
        effect: .put(key, record: record, bucket: key.bucket(of: Self.buckets), after: after(key, version)))
      #expect(mirror.apply(change) == .applied)
    }
    _ = mirror.takeMovements()
    held[gone] = nil
    let purge = Change(
      epoch: "e", version: 3, total: total(),
      effect: .purge(gone, bucket: gone.bucket(of: Self.buckets), after: after(gone, 3)))
    return (mirror, purge)
  }

  @Test(arguments: [KeyState.revoked, .suspended]) func `a key that wasn't active is taken out, and isn't lost`(
    state: KeyState
  ) {
    var (mirror, purge) = following(state)
    #expect(mirror.apply(purge) == .applied)
    #expect(mirror.isComplete && mirror.count == 1 && mirror.activeCount == 1)
    #expect(mirror.table.find(gone) == nil && mirror.table.find(kept)?.state == .active)
    #expect(mirror.takeMovements().removals == [])
  }

  @Test func `a key that was active has vanished`() {
    var (mirror, purge) = following(.active)
    #expect(mirror.apply(purge) == .applied)
    let removals = mirror.takeMovements().removals
    #expect(removals.count == 1 && removals[0].vanished && removals[0].key == KeyPrefix(gone))
    #expect(mirror.activeCount == 1)
  }

  @Test func `what isn't as the store says afterwards makes the mirror incomplete`() {
    for wrong in 0..<4 {
      var (mirror, purge) = following(.revoked)
      guard case .purge(let key, let bucket, var after) = purge.effect else { return }
      switch wrong {
      case 0: after.count += 1
      case 1: after.digest.low ^= 1
      case 2: purge.total.low ^= 1
      default: break
      }
      purge.effect = .purge(wrong == 3 ? kept : key, bucket: bucket, after: after)
      guard case .disagreement = mirror.apply(purge) else {
        Issue.record("a purge was applied that is wrong in way \(wrong)")
        continue
      }
      #expect(!mirror.isComplete)
    }
  }
}
