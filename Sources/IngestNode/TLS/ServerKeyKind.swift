// What one TLS handshake costs an event loop, by the key of the certificate. The signature with that key is what
// differs: one with RSA of 4,096 bits takes a hundred times as long as one with ECDSA on P-256, which costs less than
// the rest of the handshake.
//
// The times are of a table and not measured at start: BoringSSL's signing isn't to be had without a handshake, and what
// the bound is for is a factor of twenty, and not the factor of two between processors. `openssl speed` shows a
// machine's own; the table has about what BoringSSL takes on an Intel Xeon.

internal import NIOSSL
internal import SwiftASN1

/// What the server signs handshakes with.
enum ServerKeyKind: Hashable, Sendable, CustomStringConvertible {
  case p256
  case p384
  case p521
  case ed25519
  /// So many bits.
  case rsa(Int)
  /// One that isn't known here.
  case other

  /// - Parameter certificate: The server's own.
  init(_ certificate: NIOSSLCertificate) {
    do {
      self = try Self(subjectPublicKeyInfo: certificate.extractPublicKey().toSPKIBytes())
    } catch {
      // What BoringSSL uses is served, whether or not it is understood here.
      self = .other
    }
  }

  /// - Parameter bytes: As in RFC 5280 §4.1, in DER.
  init(subjectPublicKeyInfo bytes: [UInt8]) throws {
    self = try DER.sequence(try DER.parse(bytes), identifier: .sequence) { parts in
      guard let first = parts.next() else { throw Unreadable() }
      let (algorithm, parameters) = try DER.sequence(first, identifier: .sequence) { parts in
        let algorithm = try ASN1ObjectIdentifier(derEncoded: &parts)
        return (algorithm, parts.next())
      }
      let key = try ASN1BitString(derEncoded: &parts)
      switch algorithm {
      case [1, 2, 840, 113549, 1, 1, 1]: return .rsa(try Self.modulusBits(key.bytes))
      case [1, 3, 101, 112]: return .ed25519
      case [1, 2, 840, 10045, 2, 1]:
        return Self.curve(try parameters.map { try ASN1ObjectIdentifier(derEncoded: $0) })
      default: return .other
      }
    }
  }

  private static func curve(_ identifier: ASN1ObjectIdentifier?) -> ServerKeyKind {
    switch identifier {
    case [1, 2, 840, 10045, 3, 1, 7]: .p256
    case [1, 3, 132, 0, 34]: .p384
    case [1, 3, 132, 0, 35]: .p521
    default: .other
    }
  }

  /// - Parameter key: A modulus and an exponent, as in RFC 8017 §A.1.1.
  private static func modulusBits(_ key: ArraySlice<UInt8>) throws -> Int {
    try DER.sequence(try DER.parse(key), identifier: .sequence) { parts in
      let modulus = try ArraySlice<UInt8>(derEncoded: &parts).drop { $0 == 0 }
      _ = parts.next()
      return modulus.count * 8 - (modulus.first?.leadingZeroBitCount ?? 0)
    }
  }

  private struct Unreadable: Error {}

  var description: String {
    switch self {
    case .p256: "ECDSA P-256"
    case .p384: "ECDSA P-384"
    case .p521: "ECDSA P-521"
    case .ed25519: "Ed25519"
    case .rsa(let bits): "RSA-\(bits)"
    case .other: "unknown"
    }
  }

  /// Of one signature.
  private var signing: Duration {
    switch self {
    case .p256, .ed25519: .microseconds(40)
    case .p384: .microseconds(900)
    case .p521: .microseconds(2_000)
    // With twice the bits it takes some six times as long.
    case .rsa(...2_048): .microseconds(700)
    case .rsa(...3_072): .microseconds(2_000)
    case .rsa(...4_096), .other: .microseconds(4_000)
    // More than any public authority certifies.
    case .rsa: .microseconds(40_000)
    }
  }

  /// Of one handshake, all else included.
  var handshake: Duration { .microseconds(150) + signing }

  /// How many handshakes with ECDSA on P-256 cost as much as one with this; nil where it isn't worth a line in the log.
  var timesP256: Int? {
    guard case .rsa(let bits) = self, bits >= 3_072 else { return nil }
    return Int((handshake / ServerKeyKind.p256.handshake).rounded())
  }
}
