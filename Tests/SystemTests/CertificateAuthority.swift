// Certificates that openssl makes for one test, on a P-256 curve because that takes milliseconds.

import Foundation
import NIOSSL
import RedisFixture

/// An authority of a test's own.
final class CertificateAuthority: Sendable {
  /// A certificate and its key, as files in PEM.
  struct Issued: Sendable {
    let certificate: String
    let key: String

    /// As a client sees it, in hexadecimal digits.
    var serial: String {
      get throws {
        let chain = try NIOSSLCertificate.fromPEMFile(certificate)
        guard let first = chain.first else { throw NeverHappened(description: "\(certificate) is empty") }
        return first.serialNumber.map { String(format: "%02x", $0) }.joined()
      }
    }
  }

  private let folder: TemporaryFolder
  /// The authority's own certificate and key.
  let own: Issued

  private static let fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

  init() async throws {
    folder = try TemporaryFolder()
    own = Issued(certificate: folder.path("authority.pem"), key: folder.path("authority.key"))
    try await Self.openssl(["-subj", "/CN=an authority", "-keyout", own.key, "-out", own.certificate])
  }

  /// Issues a certificate for 127.0.0.1.
  func issue(_ name: String) async throws -> Issued {
    let issued = Issued(certificate: folder.path("\(name).pem"), key: folder.path("\(name).key"))
    try await Self.openssl([
      "-CA", own.certificate, "-CAkey", own.key, "-subj", "/CN=\(name)", "-addext", "subjectAltName=IP:127.0.0.1",
      "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", issued.key, "-out", issued.certificate,
    ])
    return issued
  }

  /// Puts these files in the places of others, each in one step, as programs that renew certificates do.
  func install(_ issued: Issued, in place: Issued) throws {
    for (source, target) in [(issued.certificate, place.certificate), (issued.key, place.key)] {
      let aside = target + ".new"
      try Data(contentsOf: URL(fileURLWithPath: source)).write(to: URL(fileURLWithPath: aside))
      guard rename(aside, target) == 0 else { throw NeverHappened(description: "\(target) could not be replaced") }
    }
  }

  /// Where the files of a running server are.
  var place: Issued { Issued(certificate: folder.path("server.crt"), key: folder.path("server.pkey")) }

  /// A client that trusts this authority.
  /// - Parameter identity: What it shows of itself; nil for nothing.
  func client(showing identity: Issued?) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.trustRoots = .file(own.certificate)
    configuration.certificateVerification = .noHostnameVerification
    if let identity {
      configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(identity.certificate).map { .certificate($0) }
      configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: identity.key, format: .pem))
    }
    return try NIOSSLContext(configuration: configuration)
  }

  private static func openssl(_ arguments: [String]) async throws {
    let process = try await ServiceProcess.start("/usr/bin/openssl", ["req", "-x509"] + fresh + arguments)
    guard try await process.waitForExit() == .exited(0) else {
      throw NeverHappened(description: "openssl failed\n\(process.outputs)")
    }
  }
}
