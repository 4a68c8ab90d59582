import ArgumentParser
public import ClientAddress
import IngestNode
import Listening
public import CommandSupport

/// The node's options for load balancers and clients: TLS, the PROXY protocol, HAProxy's agent-check.
struct EdgeArguments: ParsableArguments {
  @OptionGroup var tls: TLSArguments

  private static let trustProxies = Setting<TrustedProxies>(
    "trust-proxies",
    "Addresses (10.0.0.0/8, ::1) of proxies trusted to set the client address, by X-Forwarded-For and by the PROXY protocol. --max-connections-per-address doesn't apply to them.",
    shown: "list", as: "none")
  @Option(help: Self.trustProxies.help) var trustProxies: String?

  private static let proxyProtocol = Setting.flag(
    "proxy-protocol",
    "Expect a PROXY protocol header (version 1 or 2) on every connection. Requires --trust-proxies; other connections are closed."
  )
  @Flag(help: Self.proxyProtocol.help) var proxyProtocol = false

  private static let agentCheck = Setting<ListenAddress>(
    "agent-check",
    "Address for HAProxy's agent-check. Answers 100% when ready, 5% while only known keys can be admitted, drain during shutdown, down if it can't accept pushes.",
    shown: "host:port", as: "nowhere")
  @Option(help: Self.agentCheck.help) var agentCheck: String?

  func apply(to configuration: inout IngestNode.Configuration, _ settings: Settings) throws {
    configuration.tls = try tls.files(settings).map {
      TLSFiles(certificateChain: $0.certificate, privateKey: $0.key, clientAuthorities: $0.authorities)
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
