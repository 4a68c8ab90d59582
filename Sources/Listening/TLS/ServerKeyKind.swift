// The cost of one TLS handshake for an event loop, by the certificate's key. The signature with that key makes the
// difference: an RSA signature with 4,096 bits takes a hundred times as long as an ECDSA signature on P-256, which
// costs less than the rest of the handshake.
//
// The times are in a table. Rejected: measuring them at the start. BoringSSL's signing isn't available without a
// handshake, and the limit must cover a factor of twenty, not the factor of two between processors. `openssl speed`
// shows a machine's own times; the table has about the times of BoringSSL on an Intel Xeon.

internal import NIOSSL
internal import SwiftASN1

/// The kind of key that the server signs handshakes with.
package enum ServerKeyKind: Hashable, Sendable, CustomStringConvertible {
  case p256
  case p384
  case p521
  case ed25519
  /// RSA with this number of bits.
  case rsa(Int)
  /// Another kind.
  case other

  /// - Parameter certificate: The server's own certificate.
  init(_ certificate: NIOSSLCertificate) {
    do {
      self = try Self(subjectPublicKeyInfo: certificate.extractPublicKey().toSPKIBytes())
    } catch {
      // A key that BoringSSL can use is served, even if its kind isn't known here.
      self = .other
    }
  }

  /// - Parameter bytes: A public key as in RFC 5280 §4.1, in DER.
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

  package var description: String {
    switch self {
    case .p256: "ECDSA P-256"
    case .p384: "ECDSA P-384"
    case .p521: "ECDSA P-521"
    case .ed25519: "Ed25519"
    case .rsa(let bits): "RSA-\(bits)"
    case .other: "unknown"
    }
  }

  /// The time of one signature.
  private var signing: Duration {
    switch self {
    case .p256, .ed25519: .microseconds(40)
    case .p384: .microseconds(900)
    case .p521: .microseconds(2_000)
    // Twice the bits take about six times as long.
    case .rsa(...2_048): .microseconds(700)
    case .rsa(...3_072): .microseconds(2_000)
    case .rsa(...4_096), .other: .microseconds(4_000)
    // Larger than any public authority certifies.
    case .rsa: .microseconds(40_000)
    }
  }

  /// The time of one whole handshake, with its signature.
  package var handshake: Duration { .microseconds(150) + signing }

  /// The cost of a handshake as a multiple of one with ECDSA on P-256; nil if it isn't worth a line in the log.
  var timesP256: Int? {
    guard case .rsa(let bits) = self, bits >= 3_072 else { return nil }
    return Int((handshake / ServerKeyKind.p256.handshake).rounded())
  }
}
