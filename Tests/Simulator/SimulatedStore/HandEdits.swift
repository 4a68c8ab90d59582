// Edits of the store without the scripts, by an operator with redis-cli, a tool or a failing disk. Each is one Redis
// command, or the effect of several.

public import KeyReplica

extension SimulatedStore {
  /// FLUSHALL.
  public mutating func flush() {
    self = SimulatedStore(bucketCount: bucketCount, changesKept: changesKept)
  }

  /// XTRIM changes MAXLEN n.
  public mutating func trim(to count: Int) { stream.removeFirst(max(0, stream.count - count)) }

  /// DEL meta.
  public mutating func deleteMeta() { meta = nil }

  /// DEL bucket.
  public mutating func deleteBucket(_ index: Int) { buckets[index] = Bucket() }

  /// HDEL bucket id.
  public mutating func removeField(of key: KeyID) {
    buckets[key.bucket(of: bucketCount)].fields.removeAll { $0.key == key }
  }

  /// HSET bucket id record.
  public mutating func setField(of key: KeyID, to record: [UInt8]) {
    let index = key.bucket(of: bucketCount)
    let field = Field(name: key.bytes, key: key, record: record)
    if let position = buckets[index].position(of: key) {
      buckets[index].fields[position] = field
    } else {
      buckets[index].fields.append(field)
    }
  }

  /// HSET bucket name value, where the name is no key id.
  public mutating func addForeignField(toBucket index: Int, name: [UInt8], value: [UInt8]) {
    buckets[index].fields.removeAll { $0.name == name }
    buckets[index].fields.append(Field(name: name, key: nil, record: value))
  }

  /// HSET bucket summary text.
  public mutating func setSummary(ofBucket index: Int, to text: [UInt8]) {
    buckets[index].summary = BucketSummary(decoding: text).map { .written($0, text: text) } ?? .unreadable(text: text)
  }

  /// HSET meta digest.
  public mutating func setTotal(_ digest: Digest) { meta?.digest = digest }

  /// HSET meta schema.
  public mutating func setSchema(_ schema: Int) { meta?.schema = schema }

  /// The keys whose fields are there, whatever stands in them.
  public func keys(inBucket index: Int) -> [KeyID] { buckets[index].fields.compactMap(\.key) }

  /// Makes a bucket's summary and the totals fit the records that are there. No version is counted, nothing is streamed: the
  /// work of somebody who knows the layout and goes past the scripts.
  /// - Returns: False where the summaries don't add up to the totals to begin with, and nothing was done.
  public mutating func recompute(bucket index: Int) -> Bool {
    guard case .found(let manifest) = manifest(), manifest.fitsTogether, meta != nil,
      case .written(let old, _) = buckets[index].summary
    else { return false }
    let fields = buckets[index].fields
    let now = BucketSummary(
      count: fields.count, digest: fields.reduce(into: .empty) { $0 ^= $1.digest }, version: old.version)
    buckets[index].summary = Summary(now)
    meta!.count += now.count - old.count
    meta!.digest ^= old.digest
    meta!.digest ^= now.digest
    return true
  }
}
