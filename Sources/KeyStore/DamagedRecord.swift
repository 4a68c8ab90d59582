// A key whose record can't be read. It may be a revoked key, so nothing treats it as a key without a record: no change
// replaces the record, no list skips it in silence, and no purge removes it. In 2020 a push API took a failed read for
// a missing key. The opposite mistake would make a revoked key active again.

public import KeyReplica

/// The record of a key exists and can't be read.
public struct DamagedRecord: Error, Sendable, Hashable, CustomStringConvertible {
  public let key: KeyID
  /// What is wrong with the record; nil if only the store's script has seen it.
  public let reason: String?

  public init(key: KeyID, reason: String? = nil) {
    self.key = key
    self.reason = reason
  }

  /// A sentence without its full stop.
  public var fact: String {
    let bucket = key.bucket(of: StoreLayout.bucketCount)
    return "the record of key \(key) in bucket \(bucket) can't be read\(reason.map { " (\($0))" } ?? ""), and may be a "
      + "revoked key's"
  }

  /// What to do.
  public static let remedy =
    "run key-publisher verify to see the damage. Restore Redis, or delete such records with key-publisher reseal "
    + "--drop-unreadable and put their keys again"

  public var description: String { "\(fact); \(Self.remedy)" }
}

extension KeyRecord {
  /// Decodes the record of a key.
  init(decoding bytes: some Collection<UInt8>, of key: KeyID) throws(DamagedRecord) {
    do throws(UndecodableRecord) {
      try self.init(decoding: bytes)
    } catch {
      throw DamagedRecord(key: key, reason: "\(error)")
    }
  }
}
