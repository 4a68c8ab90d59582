// The example in the catalogue of IngestClient, compiled, run, and compared with the page word for word.

import Foundation
import IngestClient
import Logging
import RedisFixture
import ServiceLifecycle
import Testing
import UnixSignals

struct CatalogueExampleTests {
  private func example(
    endpoint: String, key: String, body: [UInt8], logger: Logger
  ) async throws -> [IngestClient.Undelivered] {
    // The example begins.
    let client = try IngestClient(
      IngestClient.Configuration(endpoint: endpoint, key: PushKey(key)), logger: logger
    ) { undelivered in
      // Each payload that won't be delivered comes back here, once, with the reason.
      logger.error("a payload is lost", metadata: ["reason": "\(undelivered)"])
    }
    let services = ServiceGroup(services: [client], gracefulShutdownSignals: [.sigterm], logger: logger)
    async let ended: Void = services.run()

    // From anywhere, without waiting. Throws when the buffer is full: nothing is dropped in silence.
    try client.submit(IngestClient.Payload(body, contentType: "application/json"))
    // Or until the gate has it.
    let delivery = try await client.push(IngestClient.Payload(body, contentType: "application/json"))
    logger.info("delivered", metadata: ["answer": "\(delivery.answer)"])

    await services.triggerGracefulShutdown()
    try await ended
    // What couldn't be delivered within the drain's deadline.
    let left = await client.drain().undelivered
    // The example ends.
    return left
  }

  @Test func `the example in the documentation works`() async throws {
    let server = try await PushServer.start { _, _ in .answer(202) }
    let left = try await example(
      endpoint: server.endpoint, key: "sk_test", body: Array("{}".utf8), logger: RecordedLog().logger)
    #expect(left.isEmpty)
    #expect(server.pushes.count == 2)
  }

  @Test func `the documentation shows this example`() throws {
    let here = URL(fileURLWithPath: #filePath)
    let source = try String(contentsOf: here, encoding: .utf8)
    let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(
      contentsOf: root.appendingPathComponent("Sources/IngestClient/IngestClient.docc/IngestClient.md"), encoding: .utf8
    )
    let compiled = source.split(separator: "\n", omittingEmptySubsequences: false)
      .drop { $0 != "    // The example begins." }.dropFirst()
      .prefix { $0 != "    // The example ends." }
      .map { $0.hasPrefix("    ") ? String($0.dropFirst(4)) : String($0) }
      .joined(separator: "\n")
    #expect(compiled.contains("IngestClient("))
    #expect(page.contains("```swift\n\(compiled)\n```"))
  }
}
