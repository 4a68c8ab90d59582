// The compose file starts what Operations recommends, with containers' names and a name server.

import Foundation
import RedisFixture
import Testing

struct ContainersTests {
  /// A configuration's sections, each a list of directives.
  private static func sections(_ text: String) -> [String: [String]] {
    var sections: [String: [String]] = [:]
    var name = ""
    for line in text.split(separator: "\n") {
      let words = line.prefix(while: { $0 != "#" }).split(separator: " ").joined(separator: " ")
      guard !words.isEmpty else { continue }
      if line.first != " " { name = words } else { sections[name, default: []].append(words) }
    }
    return sections
  }

  @Test func `HAProxy's configuration for containers is the recommended one`() throws {
    // A string with a # in it would be cut, in both alike.
    let recommended = Self.sections(try OperationsPage.example("haproxy"))
    var contained = Self.sections(try OperationsPage.file("Containers/haproxy.cfg"))
    #expect(Set(recommended.keys) == ["global", "defaults", "frontend pushes", "backend nodes"])
    #expect(contained.removeValue(forKey: "resolvers containers") != nil)
    // Named by the compose file, and looked up again and again.
    let resolution = " init-addr libc,none resolvers containers"
    for (name, directives) in contained {
      contained[name] = directives.filter { !$0.hasPrefix("maxconn ") && !$0.hasPrefix("log stdout ") }.map {
        $0 == "bind *:8080"
          ? "bind :8080"
          : $0.replacing(resolution, with: "")
            .replacing("node-1:8080", with: "10.0.0.11:8080").replacing("node-2:8080", with: "10.0.0.12:8080")
      }
    }
    #expect(contained == recommended)
  }

  @Test func `HAProxy reads its configuration for containers`() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let path = folder.path("haproxy.cfg")
    try OperationsPage.file("Containers/haproxy.cfg").write(toFile: path, atomically: true, encoding: .utf8)
    let process = try await ServiceProcess.start("/usr/sbin/haproxy", ["-c", "-f", path])
    #expect(try await process.waitForExit() == .exited(0), "\(process.outputs)")
  }

  @Test func `nodes in containers listen where HAProxy asks`() throws {
    let compose = try OperationsPage.file("docker-compose.yml")
    for (node, option, port) in ["node-1", "node-2"].flatMap({ node in
      [(node, "--listen", 8080), (node, "--admin", 8081), (node, "--agent-check", 8082)]
    }) {
      let command = compose.split(separator: "\n").first { $0.contains(#""ingest-node", "--name", "\#(node)""#) }
      #expect(command?.contains(#""\#(option)", "0.0.0.0:\#(port)""#) == true, "\(node) \(option)")
    }
    #expect(compose.contains("./Containers/haproxy.cfg:"))
  }
}
