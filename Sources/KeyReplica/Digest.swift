// The proof that two sets of records are equal. It is the XOR of one hash per record: it doesn't depend on the order,
// and a changed record costs two XORs, here and in Redis's script. Each hash is the first 128 bits of SHA-1 over ID and
// record, because SHA-1 is the only hash in Redis's Lua. It detects loss, edits and mix-ups. It doesn't detect forgery:
// a program that may write to the store needs no collision.

internal import Bytes
internal import CSHA
internal import Crypto

/// The digest of a set of records: of one bucket or of the whole store.
public struct Digest: Sendable, Hashable {
  var high: UInt64
  var low: UInt64

  /// The digest of no records.
  public static let empty = Digest(high: 0, low: 0)

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The digest of one record.
  public init(of id: KeyID, record: some Collection<UInt8>) {
    var hash = Insecure.SHA1()
    id.withUnsafeBytes { hash.update(bufferPointer: $0) }
    if record.withContiguousStorageIfAvailable({ hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }) == nil {
      hash.update(data: Array(record))
    }
    self.init(hash)
  }

  /// The digest of one record whose ID and record line are adjacent in memory.
  init(ofIDAndRecord bytes: UnsafeRawBufferPointer) {
    if Self.isBuiltIn {
      self = .empty
      sha1_begin(bytes.baseAddress, bytes.count, &high, &low)
      return
    }
    var hash = Insecure.SHA1()
    hash.update(bufferPointer: bytes)
    self.init(hash)
  }

  private static let isBuiltIn = sha_is_built_in() != 0

  private init(_ hash: Insecure.SHA1) {
    self = hash.finalize().withUnsafeBytes { raw in
      Digest(
        high: UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self)),
        low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }
  }

  /// Nil unless the text has exactly 32 hexadecimal digits.
  public init?(hex: some StringProtocol) {
    let digits = hex.utf8
    guard let high = UInt64(hexDigits: digits.prefix(16)), let low = UInt64(hexDigits: digits.dropFirst(16))
    else { return nil }
    self.init(high: high, low: low)
  }

  public var hex: String { high.hexDigits() + low.hexDigits() }

  /// Adds a record's digest to the set's, or removes it: both are the same operation.
  public static func ^= (left: inout Digest, right: Digest) {
    left.high ^= right.high
    left.low ^= right.low
  }
}

extension Digest: CustomStringConvertible {
  public var description: String { hex }
}
