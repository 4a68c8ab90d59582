public import KeyReplica
import NIOCore
public import RedisClient

/// The result of reading the whole store.
public struct StoreVerification: Sendable, Hashable {
  public var position: StorePosition?
  public var keysByState: [KeyState: Int] = [:]
  /// The contradictions, as text; at most ``problemLimit``. Empty if the store matches its description.
  public var problems: [String] = []
  /// The number of all problems.
  public var problemCount = 0

  public static let problemLimit = 20

  fileprivate mutating func add(_ problem: String) {
    problemCount += 1
    if problems.count < Self.problemLimit { problems.append(problem) }
  }
}

extension RedisConnection {
  /// Reads every record and checks it against its bucket's summary, and the summaries against the totals.
  ///
  /// If the store is changed during the read, buckets are read at different versions. Each bucket is checked against
  /// its own summary, and the totals against the manifest, which is read in one step.
  /// - Parameter progress: Called with the number of buckets read so far.
  public func verifyStore(
    _ layout: StoreLayout, progress: (Int) -> Void = { _ in }
  ) async throws -> StoreVerification {
    var result = StoreVerification()
    let manifest: Manifest
    switch try await storeManifest(layout) {
    case .found(let found): manifest = found
    case .noStore:
      result.add("there is no key store in this Redis under the namespace \(layout.namespace)")
      return result
    case .incompatible(let why):
      result.add(why)
      return result
    }
    result.position = manifest.position
    if !manifest.fitsTogether {
      let (sum, position) = (manifest.sum, manifest.position)
      result.add(
        "the buckets have \(sum.count) records with digest \(sum.digest), "
          + "meta says \(position.count) with \(position.digest)")
    }
    for (index, summary) in manifest.buckets.enumerated() {
      guard let summary, summary.version > manifest.position.version else { continue }
      result.add("bucket \(index) was changed at version \(summary.version), meta is at \(manifest.position.version)")
    }
    let step = 32
    for first in stride(from: 0, to: StoreLayout.bucketCount, by: step) {
      let indices = first..<min(first + step, StoreLayout.bucketCount)
      let replies = try await execute(indices.map(layout.bucketCommand), within: .seconds(30))
      for (index, reply) in zip(indices, replies) { result.check(try layout.rawBucket(from: reply), bucket: index) }
      progress(indices.upperBound)
    }
    return result
  }
}

extension StoreVerification {
  fileprivate mutating func check(_ raw: RawBucket, bucket index: Int) {
    guard let text = raw.summary else {
      add("bucket \(index) has no summary: it was deleted or edited, and has \(raw.count) records")
      return
    }
    guard let summary = BucketSummary(decoding: text) else {
      add("the summary of bucket \(index) can't be read")
      return
    }
    var digest = Digest.empty
    for (name, value) in raw.fields {
      guard let id = KeyID(bytes: name), id.bucket(of: StoreLayout.bucketCount) == index else {
        add("bucket \(index) has a field that isn't a key id of this bucket")
        continue
      }
      digest ^= Digest(of: id, record: value)
      do throws(UndecodableRecord) {
        keysByState[try KeyRecord(decoding: value).state, default: 0] += 1
      } catch {
        add("bucket \(index), key \(id): \(error)")
      }
    }
    if raw.count != summary.count || digest != summary.digest {
      add(
        "bucket \(index) says it has \(summary.count) records with digest \(summary.digest), it has \(raw.count) with \(digest)"
      )
    }
  }
}
