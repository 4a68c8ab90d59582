// Pushes over TLS that the node itself ends, while its certificate is replaced.

import Foundation
import NIOSSL
import RedisFixture
import Testing

struct TLSPushTests {
  /// The serial number that a new connection sees, when a push on it was taken.
  private func serial(at node: Node, _ tls: NIOSSLContext) async throws -> String {
    let connection = try await WireConnection.connected(to: node.push, tls: tls)
    connection.send(
      "POST /v1/events HTTP/1.1\r\nHost: sluice\r\nX-API-Key: \(Deployment.key(1))\r\nContent-Length: 2\r\n\r\n{}")
    let answer = try await connection.answer()
    guard answer.status == 202 else { throw NeverHappened(description: "\(answer)") }
    return try await connection.serverSerial()
  }

  @Test func `a certificate is replaced under load and no push fails`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 100)
    let authority = try await CertificateAuthority()
    var issued: [CertificateAuthority.Issued] = []
    for name in ["first", "second", "third"] { issued.append(try await authority.issue(name)) }
    let place = authority.place
    try authority.install(issued[0], in: place)
    let node = try await deployment.startNode(
      "node-1",
      [
        "--tls-certificate", place.certificate, "--tls-key", place.key, "--tls-client-authorities",
        authority.own.certificate,
      ])
    try await node.becomesReady()
    let tls = try authority.client(showing: try await authority.issue("client"))
    let serials = try issued.map { try $0.serial }
    #expect(try await serial(at: node, tls) == serials[0])

    let load = SteadyLoad(requestsPerConnection: 25) {
      try await WireConnection.connected(to: node.push, tls: tls)
    }
    let tally = try await load.running(connections: 8) {
      try await load.goesOn(for: 200)
      try authority.install(issued[1], in: place)
      try await eventually("the files are noticed") { try await serial(at: node, tls) == serials[1] }
      try await node.process.waitForLine(containing: "the files have changed")
      try await load.goesOn(for: 200)
      try authority.install(issued[2], in: place)
      node.process.signal(SIGHUP)
      try await eventually("the signal is heard") { try await serial(at: node, tls) == serials[2] }
      try await node.process.waitForLine(containing: "trigger=SIGHUP")
      try await load.goesOn(for: 200)
    }
    #expect(tally.failures.isEmpty, "\(tally.failures.count) failures, among them \(tally.failures.prefix(5))")
    #expect(tally.connections > 24, "\(tally.connections) connections are too few to prove anything")

    // Nobody comes in who shows nothing.
    let stranger = try await WireConnection.connected(to: node.push, tls: try authority.client(showing: nil))
    stranger.send("GET / HTTP/1.1\r\nHost: sluice\r\n\r\n")
    #expect(try await stranger.ending().rest.isEmpty)
  }
}
