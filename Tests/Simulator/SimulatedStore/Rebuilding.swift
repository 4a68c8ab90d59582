// Accepts a damaged store as it is, in the same steps as the real one: close it, rebuild each bucket, then open it with
// another epoch.

import KeyReplica

extension SimulatedStore {
  /// Closes the store to nodes and publishers.
  public mutating func beginRebuild() {
    var latest = max(meta?.version ?? 0, streamLastID)
    for bucket in buckets {
      if case .written(let summary, _) = bucket.summary { latest = max(latest, summary.version) }
    }
    var closed = meta ?? Meta(epoch: "")
    closed.rebuildingTo = latest + 1
    closed.sealed = false
    meta = closed
    rebuilt = [:]
  }

  /// Notes what a bucket's summary is going to be; what can't be read goes.
  public mutating func rebuild(bucket index: Int) {
    guard let version = meta?.rebuildingTo else { return }
    buckets[index].fields.removeAll { field in
      guard let key = field.key, key.bucket(of: bucketCount) == index else { return true }
      return (try? KeyRecord(decoding: field.record)) == nil
    }
    let fields = buckets[index].fields
    let digest = fields.reduce(into: Digest.empty) { $0 ^= $1.digest }
    rebuilt[index] = BucketSummary(count: fields.count, digest: digest, version: version)
  }

  /// Opens it again, if every bucket has been done.
  public mutating func finishRebuild(newEpoch: String) throws(StoreRefusal) {
    guard let version = meta?.rebuildingTo else { throw StoreRefusal(.rebuilding, "nobody is rebuilding it") }
    var fresh = Meta(epoch: newEpoch)
    fresh.version = version
    fresh.sealed = true
    fresh.replicas = meta?.replicas
    fresh.sourceMaxAge = meta?.sourceMaxAge
    fresh.hasNoSourceLimit = meta?.hasNoSourceLimit ?? false
    if let old = meta, !old.store.isEmpty {
      (fresh.store, fresh.name, fresh.adopted) = (old.store, old.name, old.adopted)
    }
    for (index, bucket) in buckets.enumerated() {
      guard let summary = rebuilt[index], summary.count == bucket.fields.count else {
        throw StoreRefusal(.broken, "bucket \(index) was changed after it was rebuilt")
      }
      if bucket.fields.contains(where: { $0.parts?.expiresAt != nil }) { fresh.schema = KeyRecord.schemaWithExpiry }
      fresh.count += summary.count
      fresh.digest ^= summary.digest
    }
    for index in buckets.indices { buckets[index].summary = Summary(rebuilt[index] ?? .empty) }
    rebuilt = [:]
    meta = fresh
    stream = [Change(epoch: newEpoch, version: version, total: fresh.digest, effect: .seal)]
    streamLastID = version
  }

  /// All of it.
  public mutating func rebuild(newEpoch: String) throws(StoreRefusal) {
    beginRebuild()
    for index in buckets.indices { rebuild(bucket: index) }
    try finishRebuild(newEpoch: newEpoch)
  }
}
