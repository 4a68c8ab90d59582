// nginx's configuration as Operations recommends it, with the tests' addresses.

enum RecommendedNginx {
  /// What stands in the section `http`.
  static func configuration(port: Int, nodes: [Node.Addresses]) throws -> String {
    let servers = nodes.map { "  server \($0.push) max_fails=0;" }
    return try OperationsPage.example("nginx") { line in
      if line == "  listen 8080;" { return "  listen 127.0.0.1:\(port);" }
      if line.hasPrefix("  server 10.0.0.11:") { return servers.joined(separator: "\n") }
      if line.hasPrefix("  server ") { return nil }
      return line
    }
  }
}
