// A listener's certificate as it was read at one time: the parts that TLS needs, and the facts for people. It is either
// usable as a whole or rejected: otherwise a chain and a key that don't match would be noticed only when the first
// client fails. BoringSSL decides whether it is usable, because BoringSSL uses it. swift-certificates only reads the
// certificate's names for the log. Rejected: NIOCertificateReloading of swift-nio-extras. It reloads on a timer alone,
// doesn't name the file at fault, and doesn't support authorities for client certificates.

import Bytes
import Foundation
import NIOCore
package import NIOSSL
import SwiftASN1
import X509

/// A certificate with its key, ready to be served.
package struct ServerCertificate: Sendable {
  /// The TLS context for each new connection. It contains the key.
  package let context: NIOSSLContext
  /// As in RFC 4514, `CN=push.example.com,O=Example`. May be empty: modern certificates name their servers only in
  /// ``names``.
  let subject: String
  /// The names that clients may use for the server.
  let names: [String]
  /// In hexadecimal, two digits a byte, as OpenSSL writes it.
  let serial: String
  let notBefore: Date
  let notAfter: Date
  /// The kind of key, which determines the cost of a handshake, see ``ServerKeyKind/handshake``.
  package let keyKind: ServerKeyKind
  /// The number of authorities of client certificates; nil if clients need no certificate.
  package let clientAuthorities: Int?

  /// Reads the files, which blocks.
  ///
  /// A certificate that isn't valid at this time is accepted nevertheless: most clients will refuse it, but a node that
  /// doesn't start serves no client at all. See ``standing(at:)``.
  init(_ files: TLSFiles) throws(UnusableTLSFile) {
    let chain = try Self.certificates(in: files.certificateChain, are: "the certificate chain of the listener")
    let key = try Self.privateKey(in: files.privateKey)
    let authorities = try files.clientAuthorities.map { path throws(UnusableTLSFile) in
      try Self.certificates(in: path, are: "the authorities of client certificates")
    }

    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = .tlsv12
    configuration.cipherSuiteValues = Self.cipherSuites
    configuration.curves = Self.curves
    configuration.applicationProtocols = ["http/1.1"]
    // Maximum wait for the client's close_notify after our own: by then it has received everything that it will
    // receive.
    configuration.shutdownTimeout = .seconds(1)
    if let authorities {
      // The name in a client's certificate doesn't matter: the API key identifies the client.
      configuration.certificateVerification = .noHostnameVerification
      configuration.trustRoots = .certificates(authorities)
      configuration.sendCANameList = true
    }

    let own = chain[0]
    (subject, names) = Self.describe(own)
    keyKind = ServerKeyKind(own)
    serial = own.serialNumber.map { $0.hexDigits() }.joined()
    notBefore = Date(timeIntervalSince1970: TimeInterval(own.notValidBefore))
    notAfter = Date(timeIntervalSince1970: TimeInterval(own.notValidAfter))
    clientAuthorities = authorities?.count
    do {
      context = try NIOSSLContext(configuration: configuration)
    } catch NIOSSLError.failedToLoadPrivateKey {
      throw UnusableTLSFile(
        file: files.privateKey,
        expected:
          "the private key of the first certificate in \(files.certificateChain) (\(subject), serial \(serial))",
        found: "a key that doesn't match it")
    } catch {
      throw UnusableTLSFile(
        file: files.certificateChain, expected: "a certificate chain that TLS can use", found: "\(error)")
    }
  }

  /// Cipher suites of TLS 1.2; those of TLS 1.3 are all good. Keys are exchanged by ECDHE, so that a stolen private key
  /// can't decrypt recorded traffic, and all suites are authenticated (AEAD): CBC with SHA-1 and RSA's key exchange
  /// have a history of attacks. Every client of the past ten years that supports TLS 1.2 has one of these.
  private static let cipherSuites: [NIOTLSCipher] = [
    .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
  ]

  /// The client chooses among these, so all must be cheap: with P-384 a handshake would cost this side fifteen times as
  /// much. Every client has P-256 (RFC 8446 §9.1).
  private static let curves: [NIOTLSCurve] = [.x25519, .secp256r1]

  /// Whether the certificate is valid at a given time.
  enum Standing: Equatable, Sendable {
    case valid(remaining: Duration)
    case expired
    case notYetValid
  }

  func standing(at time: Date) -> Standing {
    if time < notBefore { return .notYetValid }
    if time >= notAfter { return .expired }
    return .valid(remaining: .seconds(notAfter.timeIntervalSince(time)))
  }

  private static func certificates(
    in file: String, are what: String
  ) throws(UnusableTLSFile) -> [NIOSSLCertificate] {
    let expected = "\(what), as PEM"
    let bytes = try read(file, expecting: expected)
    // BoringSSL's error doesn't distinguish a missing certificate from an unreadable one.
    guard String(decoding: bytes, as: UTF8.self).contains("CERTIFICATE-----") else {
      throw UnusableTLSFile(file: file, expected: expected, found: "\(bytes.count) bytes without a certificate")
    }
    do {
      let found = try NIOSSLCertificate.fromPEMBytes(bytes)
      if !found.isEmpty { return found }
    } catch {
      // The error below replaces this one, whose text is that of a stack of parsers.
    }
    throw UnusableTLSFile(
      file: file, expected: expected, found: "an unreadable or incomplete certificate")
  }

  /// Errors about a key have their own texts, which never contain the key's bytes.
  private static func privateKey(in file: String) throws(UnusableTLSFile) -> NIOSSLPrivateKey {
    let expected = "the private key of the listener, as PEM, not encrypted"
    let bytes = try read(file, expecting: expected)
    do {
      // With an empty passphrase BoringSSL never asks for one.
      return try NIOSSLPrivateKey(bytes: bytes, format: .pem) { $0([UInt8]()) }
    } catch {
      let text = String(decoding: bytes, as: UTF8.self)
      let found =
        if text.contains("ENCRYPTED") {
          "an encrypted key"
        } else if text.contains("PRIVATE KEY-----") {
          "a key that can't be read"
        } else if text.contains("BEGIN CERTIFICATE-----") {
          "a certificate and no key"
        } else {
          "\(bytes.count) bytes without a private key"
        }
      throw UnusableTLSFile(file: file, expected: expected, found: found)
    }
  }

  private static func read(_ file: String, expecting expected: String) throws(UnusableTLSFile) -> [UInt8] {
    func unusable(_ found: String) -> UnusableTLSFile {
      UnusableTLSFile(file: file, expected: expected, found: found)
    }
    let bytes: [UInt8]
    do throws(ReloadedFile.Unreadable) { bytes = try ReloadedFile.read(file) } catch { throw unusable(error.found) }
    guard !bytes.isEmpty else { throw unusable("an empty file") }
    return bytes
  }

  /// The subject and names for the log. A certificate that BoringSSL accepts and swift-certificates doesn't is served
  /// nevertheless.
  private static func describe(_ certificate: NIOSSLCertificate) -> (subject: String, names: [String]) {
    do {
      let parsed = try Certificate(derEncoded: try certificate.toDERBytes())
      let names = try parsed.extensions.subjectAlternativeNames?.compactMap { name in
        switch name {
        case .dnsName(let host): host
        case .ipAddress(let address): Self.address(Array(address.bytes))
        default: nil
        }
      }
      return (parsed.subject.description, names ?? [])
    } catch {
      return ("\(certificate), whose subject can't be read: \(error)", [])
    }
  }

  private static func address(_ bytes: [UInt8]) -> String {
    do {
      return try NIOCore.SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0).ipAddress ?? "\(bytes)"
    } catch {
      return "\(bytes)"
    }
  }
}

/// A file for TLS that can't be used.
package struct UnusableTLSFile: Error, Equatable, CustomStringConvertible {
  let file: String
  let expected: String
  /// The actual content as text. Never a part of a key.
  let found: String

  package var description: String { "\(file): expected \(expected), found \(found)" }
}
