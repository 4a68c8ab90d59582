// The TLS settings for Redis: versions and ciphers, trusted authorities, and the name that the certificate must have.
//
// NIOSSL accepts a certificate that contains the peer's IP address, whatever name was requested. So the name is checked
// here once more, before anything is sent. Otherwise an attacker who redirects the DNS lookup to an address of their
// own could use a certificate for that address.

internal import Foundation
internal import NIOSSL
internal import NIOCore

extension RedisEndpoint {
  /// The TLS context of this endpoint and the name to request; nil if it uses no TLS.
  /// - Throws: ``UnusableTLSFile``, or an error of NIOSSL.
  func tls() throws -> (context: NIOSSLContext, name: String?)? {
    guard usesTLS, case .tcp(let host, _) = address else { return nil }
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    // The same as the push listener's: ECDHE and AEAD. Redis offers them with any OpenSSL that has TLS 1.2.
    configuration.cipherSuiteValues = [
      .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
      .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
      .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
    if let file = certificateAuthority,
      (try? URL(fileURLWithPath: file).resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory == true
    {
      // A folder with files named by hashes, as OpenSSL's c_rehash creates them.
      configuration.trustRoots = .file(file)
    } else if let file = certificateAuthority {
      let certificates = try Self.read(file, "cafile=", "certificates") { try NIOSSLCertificate.fromPEMBytes($0) }
      configuration.trustRoots = .certificates(certificates)
    }
    if let files = clientCertificate {
      configuration.certificateChain = try Self.read(files.chain, "certfile=", "certificates") {
        try NIOSSLCertificate.fromPEMBytes($0)
      }.map { .certificate($0) }
      configuration.privateKey = .privateKey(
        try Self.read(files.privateKey, "keyfile=", "a private key without a passphrase") {
          try NIOSSLPrivateKey(bytes: $0, format: .pem)
        })
    }
    // A connection that has ended is closed at once. Waiting for a silent peer's close_notify would only delay the next
    // connection.
    configuration.shutdownTimeout = .milliseconds(100)
    // An IP address isn't sent as a name, and is compared with the certificate's addresses. A parse error means that
    // the host isn't an IP address.
    let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
    let context: NIOSSLContext
    do {
      context = try NIOSSLContext(configuration: configuration)
    } catch {
      guard let files = clientCertificate else { throw error }
      // Both files were read, but they don't match.
      throw UnusableTLSFile("\(files.privateKey) (keyfile=) isn't the key of \(files.chain) (certfile=)")
    }
    return (context, serverName ?? (isAddress ? nil : host))
  }

  /// Files are read at each connection, so that certificates can be renewed without a restart.
  private static func read<Value>(
    _ path: String, _ option: String, _ expected: String, _ parse: ([UInt8]) throws -> Value
  ) throws(UnusableTLSFile) -> Value {
    let bytes: [UInt8]
    do throws(UnreadableFile) { bytes = try SmallFile.read(path) } catch {
      throw UnusableTLSFile("can't read \(path) (\(option)): \(error)")
    }
    do { return try parse(bytes) } catch {
      throw UnusableTLSFile("expected \(expected) in PEM in \(path) (\(option)), got something else")
    }
  }

  /// The error for a certificate with other names.
  var otherName: String {
    let host = if case .tcp(let host, _) = address { host } else { "the server" }
    let remedy =
      serverName == nil
      ? "say servername=NAME with a name that it has, or get one for \(host)" : "say another servername=, or get one"
    return "Redis's certificate isn't for \(serverName ?? host): \(remedy)"
  }
}

/// A TLS file can't be used. The description has the file and the reason.
struct UnusableTLSFile: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

extension NIOSSLCertificate {
  /// Whether the certificate has this name (RFC 6125, section 6.4): among its alternative names, if it has any.
  /// Otherwise its common name counts, which NIOSSL has compared.
  func isFor(_ name: String) -> Bool {
    let names = _subjectAlternativeNames()
    return names.isEmpty
      || names.contains { alternative in
        alternative.nameType == .dnsName
          && DNSName.matches(String(decoding: alternative.contents, as: UTF8.self), name)
      }
  }
}

/// How names in certificates are compared.
enum DNSName {
  /// - Parameter pattern: `redis.example`, or `*.example` for all names with one label before `example`.
  static func matches(_ pattern: String, _ name: String) -> Bool {
    func labels(_ text: String) -> [Substring] {
      let text = text.hasSuffix(".") ? text.dropLast() : text[...]
      return text.lowercased()[...].split(separator: ".", omittingEmptySubsequences: false)
    }
    let (pattern, name) = (labels(pattern), labels(name))
    guard pattern.count == name.count, let first = pattern.first, !name.contains("") else { return false }
    // The star stands for one whole label, but not directly before a top-level domain.
    return (first == name[0] || first == "*" && pattern.count > 2) && pattern.dropFirst() == name.dropFirst()
  }
}
