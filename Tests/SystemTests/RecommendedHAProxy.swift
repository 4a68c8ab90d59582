// HAProxy's configuration as Operations recommends it: what the tests show, they show of this one. It is read from the page itself, so the two
// can't come apart; only addresses are filled in.

enum RecommendedHAProxy {
  /// The request of a health check to the admin port.
  enum Check: String, CaseIterable, Sendable {
    /// Whether the process answers; how much of the traffic it is given is the agent's word. The recommended one.
    case livez
    /// Whether the node is ready. For balancers that have no agent-check.
    case readyz
  }

  static func configuration(port: Int, nodes: [Node.Addresses], check: Check = .livez) throws -> String {
    let servers = nodes.enumerated().map { index, node in
      "  server node-\(index + 1) \(node.push) port \(Node.port(node.admin)) agent-port \(Node.port(node.agent))"
    }
    return try OperationsPage.example("haproxy") { line in
      if line == "  bind :8080" { return "  bind 127.0.0.1:\(port)" }
      if line.hasPrefix("  server node-1 ") { return servers.joined(separator: "\n") }
      if line.hasPrefix("  server ") { return nil }
      return line.replacing(" uri /livez ", with: " uri /\(check) ")
    }
  }
}
