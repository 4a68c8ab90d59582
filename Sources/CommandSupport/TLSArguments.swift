public import ArgumentParser

/// The options of a listener for TLS.
public struct TLSArguments: ParsableArguments {
  private static let tlsCertificate = Setting<String>(
    "tls-certificate",
    "PEM file with the listener's certificate and its intermediates. Reloaded on SIGHUP and when the file changes.",
    shown: "file", as: "none: the load balancer terminates TLS")
  @Option(help: Self.tlsCertificate.help) var tlsCertificate: String?

  private static let tlsKey = Setting<String>("tls-key", "PEM file with the certificate's private key.", shown: "file")
  @Option(help: Self.tlsKey.help) var tlsKey: String?

  private static let tlsClientAuthorities = Setting<String>(
    "tls-client-authorities", "PEM file with the authorities that client certificates must be signed by.",
    shown: "file", as: "no client certificate required")
  @Option(help: Self.tlsClientAuthorities.help) var tlsClientAuthorities: String?

  public init() {}

  /// The paths of the files; nil without TLS.
  /// - Throws: As ``Settings/value(_:given:)``, and if one of the options that belong together is missing.
  public func files(
    _ settings: Settings
  ) throws(ValidationError) -> (certificate: String, key: String, authorities: String?)? {
    let certificate = try settings.optional(Self.tlsCertificate, given: tlsCertificate)
    let key = try settings.optional(Self.tlsKey, given: tlsKey)
    let authorities = try settings.optional(Self.tlsClientAuthorities, given: tlsClientAuthorities)
    switch (certificate, key) {
    case (let certificate?, let key?): return (certificate, key, authorities)
    case (nil, nil):
      if authorities != nil {
        throw ValidationError("--tls-client-authorities needs --tls-certificate and --tls-key, and neither was given")
      }
      return nil
    default: throw ValidationError("expected both --tls-certificate and --tls-key, but only one of them was given")
    }
  }
}
