// Failures of the network and of TLS, as text. The errors' own descriptions are meant for debugging. An operator needs
// to know what is wrong between this process and Redis, and which part of the address to change.

internal import Foundation
internal import NIOCore
internal import NIOPosix
internal import NIOSSL

extension RedisEndpoint {
  func words(of error: any Error) -> String {
    switch error {
    case let error as IOError: String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError: words(of: error)
    case NIOSSLError.handshakeFailed(let error): tlsWords("\(error)")
    case NIOSSLError.uncleanShutdown: Self.peerClosed
    case let error as NIOSSLExtraError where error == .failedToValidateHostname: otherName
    case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: tlsWords("\(error)")
    default: "\(error)"
    }
  }

  static let peerClosed = "the peer closed it"

  private func words(of error: NIOConnectionError) -> String {
    var attempts = error.connectionErrors.map { words(of: $0.error) }
    if attempts.isEmpty, error.dnsAError != nil || error.dnsAAAAError != nil {
      attempts = ["the name \(error.host) can't be looked up, or doesn't exist"]
    }
    // One error for each address of the name.
    return Set(attempts).sorted().joined(separator: ", ")
  }

  /// - Parameter text: BoringSSL's text, which contains the name of the error.
  private func tlsWords(_ text: String) -> String {
    // During the handshake.
    if text.contains("EOF during") { return Self.peerClosed }
    let error = text.firstMatch(of: /OPENSSL_internal:([A-Z0-9_]+)/).map { String($0.1) } ?? text
    let authorities = certificateAuthority.map { "those in \($0)" } ?? "the system's"
    let certificate = clientCertificate.map { "the certificate in \($0.chain)" } ?? "this side's certificate"
    let meaning: String? =
      switch error {
      case let error where error.contains("CERTIFICATE_VERIFY_FAILED"):
        "Redis's certificate isn't trusted: it has expired, isn't valid yet, or isn't signed by an authority that is "
          + "trusted (\(authorities)): change cafile=, or Redis's certificate"
      case let error where error.contains("WRONG_VERSION_NUMBER") || error.contains("HTTP_REQUEST"):
        "no TLS at this port: use redis instead of rediss, or the port of Redis's tls-port"
      case let error where error.contains("ALERT_CERTIFICATE_REQUIRED"):
        "Redis asks for a client's certificate: give certfile= and keyfile=, or set tls-auth-clients no in Redis"
      case let error
      where [
        "ALERT_UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "CERTIFICATE_REVOKED",
      ]
      .contains { error.contains($0) }:
        "Redis doesn't trust \(certificate): it has to be valid, and signed by an authority in Redis's tls-ca-cert-file"
      case let error
      where ["HANDSHAKE_FAILURE", "PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER"]
        .contains { error.contains($0) }:
        "Redis and Sluice have no version or cipher of TLS in common: Sluice speaks 1.3, and 1.2 with ECDHE and AEAD"
          + (clientCertificate == nil ? "; or Redis asks for a client's certificate (certfile= and keyfile=)" : "")
      default: nil
      }
    return meaning.map { "\($0) (\(error))" } ?? "TLS failed: \(error)"
  }
}
