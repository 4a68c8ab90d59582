// Authorities and certificates that openssl makes, in a folder of the test's own. Everything is on a P-256 curve, because that takes
// milliseconds to make.

import Foundation
import RedisFixture

@testable import IngestNode
@testable import Listening

/// A folder with an authority that issues what the test asks for.
final class CertificateFolder: Sendable {
  /// A certificate and its key, as files.
  struct Issued: Sendable {
    let certificate: String
    let key: String
  }

  let folder: TemporaryFolder
  /// The authority's own certificate.
  let authority: String
  private let authorityKey: String

  private init(folder: TemporaryFolder) {
    self.folder = folder
    authority = folder.path("authority.pem")
    authorityKey = folder.path("authority.key")
  }

  static func make(authority name: String = "an authority") async throws -> CertificateFolder {
    let made = CertificateFolder(folder: try TemporaryFolder())
    try await openssl(
      ["req", "-x509", "-days", "30", "-subj", "/CN=\(name)", "-keyout", made.authorityKey, "-out", made.authority]
        + newKey)
    try Data().write(to: made.folder.url("index.txt"))
    try Data(
      """
      [ca]
      default_ca = ours
      [ours]
      database = \(made.folder.path("index.txt"))
      new_certs_dir = \(made.folder.path)
      rand_serial = yes
      unique_subject = no
      default_md = sha256
      copy_extensions = copy
      policy = any
      [any]
      organizationName = optional
      commonName = supplied
      """.utf8
    ).write(to: made.folder.url("ca.conf"))
    return made
  }

  func path(_ name: String) -> String { folder.path(name) }

  /// Issues a certificate for localhost, valid from a day ago for 90 days unless told otherwise.
  /// - Parameters:
  ///   - key: What openssl makes the key of.
  ///   - issuer: Another authority than the folder's own.
  ///   - extensions: As openssl writes them.
  func issue(
    _ name: String, subject: String? = nil, from: Date = Date(timeIntervalSinceNow: -86_400),
    to: Date = Date(timeIntervalSinceNow: 90 * 86_400), key: [String] = newKey, by issuer: Issued? = nil,
    extensions: [String] = ["subjectAltName=DNS:localhost,IP:127.0.0.1"]
  ) async throws -> Issued {
    let issued = Issued(certificate: path("\(name).pem"), key: path("\(name).key"))
    let request = path("\(name).csr")
    try await Self.openssl(
      ["req", "-new", "-subj", subject ?? "/CN=\(name)", "-keyout", issued.key, "-out", request] + key
        + extensions.flatMap { ["-addext", $0] })
    try await Self.openssl([
      "ca", "-batch", "-notext", "-config", path("ca.conf"), "-cert", issuer?.certificate ?? authority, "-keyfile",
      issuer?.key ?? authorityKey, "-startdate", Self.time(from), "-enddate", Self.time(to), "-in", request, "-out",
      issued.certificate,
    ])
    return issued
  }

  /// What openssl prints.
  @discardableResult
  static func openssl(_ arguments: [String]) async throws -> String {
    let process = try await ServiceProcess.start("/usr/bin/openssl", arguments)
    guard try await process.waitForExit() == .exited(0) else {
      throw NeverHappened(description: "openssl \(arguments.joined(separator: " ")) failed\n\(process.outputs)")
    }
    try await eventually("openssl's output is read") { process.standardOutput.isComplete }
    return process.standardOutput.text
  }

  /// ECDSA on P-256.
  static let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

  /// As openssl's `ca` takes it.
  private static func time(_ date: Date) -> String { date.formatted(.iso8601).filter { !"-:T".contains($0) } }
}

extension TLSFiles {
  init(_ issued: CertificateFolder.Issued, clients: String? = nil) {
    self.init(certificateChain: issued.certificate, privateKey: issued.key, clientAuthorities: clients)
  }
}

/// Puts a file in another's place in one step, as programs that renew certificates should.
func replace(_ path: String, with source: String) throws {
  let aside = path + ".new"
  try FileManager.default.copyItem(atPath: source, toPath: aside)
  guard rename(aside, path) == 0 else { throw NeverHappened(description: "\(path) could not be replaced") }
}

extension CertificateFolder.Issued {
  /// Copies both files under one name, from which they can be replaced.
  func installed(in folder: CertificateFolder, as name: String = "server") throws -> CertificateFolder.Issued {
    let place = CertificateFolder.Issued(certificate: folder.path("\(name).crt"), key: folder.path("\(name).pkey"))
    try replace(place.certificate, with: certificate)
    try replace(place.key, with: key)
    return place
  }
}
