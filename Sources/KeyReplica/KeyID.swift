// A key is identified by its SHA-256 only: secrets are hashed when they are received, and never stored, mirrored or
// logged. The ID is kept as four words because it is compared and sorted into buckets far more often than it is
// printed.

internal import Bytes
internal import CSHA
public import Crypto

/// The SHA-256 of a key's secret.
public struct KeyID: Sendable, Hashable {
  /// The 32 bytes as big-endian words, so that their order is the order of the bytes.
  package let words: (UInt64, UInt64, UInt64, UInt64)

  /// Hashes a secret. Inlinable, because it runs for every request, and without specialisation for the sequence's type
  /// it costs a fifth more.
  @inlinable public init(secret: some Sequence<UInt8>) {
    let id = secret.withContiguousStorageIfAvailable { KeyID(hashing: UnsafeRawBufferPointer($0)) }
    self = id ?? Array(secret).withUnsafeBytes { KeyID(hashing: $0) }
  }

  @usableFromInline init(hashing secret: UnsafeRawBufferPointer) {
    if Self.isBuiltIn {
      self.init(words: sha256(secret.baseAddress, secret.count).words)
      return
    }
    var hash = SHA256()
    hash.update(bufferPointer: secret)
    self.init(hash.finalize())
  }

  private static let isBuiltIn = sha_is_built_in() != 0

  public init(_ digest: SHA256Digest) {
    self = digest.withUnsafeBytes { KeyID(raw: $0) }
  }

  /// Nil unless the collection has exactly 32 bytes.
  public init?(bytes: some Collection<UInt8>) {
    guard bytes.count == Self.byteCount else { return nil }
    let id = bytes.withContiguousStorageIfAvailable { KeyID(raw: UnsafeRawBufferPointer($0)) }
    self = id ?? Array(bytes).withUnsafeBytes { KeyID(raw: $0) }
  }

  /// Nil unless the text has exactly 64 hexadecimal digits.
  public init?(hex: some StringProtocol) { self.init(digits: String(hex).utf8) }

  // Not generic: a list may have millions of IDs, and unspecialized code takes ten times as long.
  private init?(digits: String.UTF8View) {
    var rest = digits.makeIterator()
    func word() -> UInt64? {
      var word: UInt64 = 0
      for _ in 0..<16 {
        guard let value = rest.next()?.hexadecimal else { return nil }
        word = word << 4 | UInt64(value)
      }
      return word
    }
    guard let first = word(), let second = word(), let third = word(), let fourth = word(), rest.next() == nil else {
      return nil
    }
    self.init(words: (first, second, third, fourth))
  }

  private init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// - Parameter raw: Exactly 32 bytes.
  init(raw: UnsafeRawBufferPointer) {
    func word(_ index: Int) -> UInt64 {
      UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
    }
    words = (word(0), word(1), word(2), word(3))
  }

  public static let byteCount = 32

  /// The 32 bytes.
  public var bytes: [UInt8] { withUnsafeBytes { Array($0) } }

  /// All 64 hexadecimal digits.
  public var hex: String { words.0.hexDigits() + words.1.hexDigits() + words.2.hexDigits() + words.3.hexDigits() }

  /// The first 16 hexadecimal digits: enough to find the ID, and short enough for log lines.
  public var prefix: String { words.0.hexDigits() }

  /// The bucket of the ID, by its first bits.
  /// - Parameter count: The number of buckets: a power of two, at least 2.
  public func bucket(of count: Int) -> Int {
    KeyPrefix(self).bucket(of: count)
  }

  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    Swift.withUnsafeBytes(
      of: (words.0.bigEndian, words.1.bigEndian, words.2.bigEndian, words.3.bigEndian), body)
  }

  public static func == (left: KeyID, right: KeyID) -> Bool { left.words == right.words }

  public func hash(into hasher: inout Hasher) {
    // The ID is already a cryptographic hash, so any part of it is sufficient.
    hasher.combine(words.0)
    hasher.combine(words.1)
  }
}

extension KeyID: CustomStringConvertible {
  public var description: String { prefix + "…" }
}
