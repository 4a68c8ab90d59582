// The examples in the module's own documentation, compiled, run, and compared with the page word for word.

import Foundation
import IngestClient
import Logging
import RedisFixture
import ServiceLifecycle
import Testing
import UnixSignals

struct QuickStartTests {
  private func start(endpoint: String, secret: String, logger: Logger) async throws {
    // begin start
    let client = try IngestClient(
      IngestClient.Configuration(endpoint: endpoint, key: PushKey(secret)), logger: logger
    ) { undelivered in
      // Each payload that couldn't be delivered, once, with the reason.
      logger.error("undelivered", metadata: ["reason": "\(undelivered)"])
    }
    let group = ServiceGroup(services: [client], gracefulShutdownSignals: [.sigterm], logger: logger)
    async let running: Void = group.run()

    // From anywhere, without waiting: the client sends in the background.
    try client.submit(IngestClient.Payload(Array(#"{"hello":"world"}"#.utf8), contentType: "application/json"))
    // Or wait until the gate has it.
    try await client.push(IngestClient.Payload(Array(#"{"hello":"again"}"#.utf8), contentType: "application/json"))

    // Your service ends: what is in the buffer is delivered first.
    await group.triggerGracefulShutdown()
    try await running
    // end start
  }

  private func submit(_ payload: IngestClient.Payload, to client: IngestClient) throws -> Bool {
    // begin switch
    do {
      try client.submit(payload)
    } catch {
      switch error.code {
      case .bufferFull: return false  // Later, perhaps: too much is waiting.
      case .tooLarge, .malformed: throw error  // Never.
      default: throw error
      }
    }
    // end switch
    return true
  }

  @Test func `the start works`() async throws {
    let server = try await PushServer.start { _, _ in .answer(202) }
    try await start(endpoint: server.endpoint, secret: "sk_test", logger: RecordedLog().logger)
    #expect(server.pushes.count == 2)
  }

  @Test func `a rejection is told by its code`() throws {
    var configuration = IngestClient.Configuration(endpoint: "http://127.0.0.1:1/v1/events", key: try PushKey("sk"))
    configuration.buffer.payloads = 1
    configuration.buffer.bytes = 8
    let client = try IngestClient(configuration, logger: RecordedLog().logger)
    #expect(try submit(IngestClient.Payload(Array("one".utf8)), to: client))
    #expect(try !submit(IngestClient.Payload(Array("two".utf8)), to: client))
    let error = #expect(throws: IngestClient.Rejection.self) {
      try submit(IngestClient.Payload(Array("far too long".utf8)), to: client)
    }
    #expect(error?.code == .tooLarge && "\(error!)".contains("8 bytes"))
  }

  @Test(arguments: ["start", "switch"]) func `the documentation shows these examples`(name: String) throws {
    let here = URL(fileURLWithPath: #filePath)
    let source = try String(contentsOf: here, encoding: .utf8)
    let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let page = try String(
      contentsOf: root.appendingPathComponent("Sources/IngestClient/IngestClient.docc/IngestClient.md"),
      encoding: .utf8)
    let compiled = source.split(separator: "\n", omittingEmptySubsequences: false)
      .drop { $0 != "    // begin \(name)" }.dropFirst()
      .prefix { $0 != "    // end \(name)" }
      .map { $0.hasPrefix("    ") ? String($0.dropFirst(4)) : String($0) }
      .joined(separator: "\n")
    #expect(compiled.contains("client"))
    #expect(page.contains("```swift\n\(compiled)\n```"))
  }
}
