import ArgumentParser
public import ClientAddress
import IngestNode
public import CommandSupport

/// The node's options for load balancers and clients: TLS, the PROXY protocol, HAProxy's agent-check.
struct EdgeArguments: ParsableArguments {
  private static let tlsCertificate = Setting<String>(
    "tls-certificate",
    "PEM file with the push listener's certificate and its intermediates. Reloaded on SIGHUP and when the file changes.",
    shown: "file", as: "none, balancers end TLS")
  @Option(help: Self.tlsCertificate.help) var tlsCertificate: String?

  private static let tlsKey = Setting<String>("tls-key", "PEM file with the certificate's private key.", shown: "file")
  @Option(help: Self.tlsKey.help) var tlsKey: String?

  private static let tlsClientAuthorities = Setting<String>(
    "tls-client-authorities", "PEM file with the authorities that client certificates must be signed by.",
    shown: "file", as: "clients need none")
  @Option(help: Self.tlsClientAuthorities.help) var tlsClientAuthorities: String?

  private static let trustProxies = Setting<TrustedProxies>(
    "trust-proxies",
    "Addresses (10.0.0.0/8, ::1) of proxies trusted to set the client address, by X-Forwarded-For and by the PROXY protocol. --max-connections-per-address doesn't hold for them.",
    shown: "list", as: "none")
  @Option(help: Self.trustProxies.help) var trustProxies: String?

  private static let proxyProtocol = Setting.flag(
    "proxy-protocol",
    "Expect a PROXY protocol header (version 1 or 2) on every connection. Requires --trust-proxies; other connections are closed."
  )
  @Flag(help: Self.proxyProtocol.help) var proxyProtocol = false

  private static let agentCheck = Setting<ListenAddress>(
    "agent-check",
    "Address for HAProxy's agent-check. Answers 100% when ready, 5% while only known keys can be admitted, drain during shutdown.",
    shown: "host:port", as: "nowhere")
  @Option(help: Self.agentCheck.help) var agentCheck: String?

  func apply(to configuration: inout IngestNode.Configuration, _ settings: Settings) throws {
    let certificate = try settings.optional(Self.tlsCertificate, given: tlsCertificate)
    let key = try settings.optional(Self.tlsKey, given: tlsKey)
    let authorities = try settings.optional(Self.tlsClientAuthorities, given: tlsClientAuthorities)
    switch (certificate, key) {
    case (let certificate?, let key?):
      configuration.tls = TLSFiles(certificateChain: certificate, privateKey: key, clientAuthorities: authorities)
    case (nil, nil):
      if authorities != nil {
        throw ValidationError("--tls-client-authorities needs --tls-certificate and --tls-key, and neither was given")
      }
    default: throw ValidationError("expected both --tls-certificate and --tls-key, but only one of them was given")
    }
    configuration.trustedProxies = try settings.optional(Self.trustProxies, given: trustProxies) ?? .none
    configuration.expectsProxyHeader = try settings.flag(Self.proxyProtocol, given: proxyProtocol)
    if configuration.expectsProxyHeader, configuration.trustedProxies.blocks.isEmpty {
      throw ValidationError("--proxy-protocol requires --trust-proxies: without it every connection would be closed")
    }
    if let agent = try settings.optional(Self.agentCheck, given: agentCheck) {
      configuration.agentCheck = (agent.host, agent.port)
    }
  }
}

extension TrustedProxies: SettingValue {
  public static var expectation: String { "addresses and blocks of them, separated by commas: 10.0.0.0/8, ::1" }

  public init(setting text: String) throws(InvalidSetting) {
    do throws(InvalidAddress) { try self.init(text) } catch { throw InvalidSetting("\(error)") }
  }
}
