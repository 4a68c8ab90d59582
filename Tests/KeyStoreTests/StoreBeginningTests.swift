import KeyReplica
import Logging
import NIOCore
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct StoreBeginningTests {
  @Test func `a store that was sealed empty is mirrored as complete, and refuses`() async throws {
    try await StoreBench.with { store in
      _ = try await store.writer.seal(mayBeEmpty: true)
      let driver = ReplicaDriver(
        endpoint: store.redis.endpoint, layout: store.layout, name: "test", on: StoreBench.loop,
        logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
      driver.start()
      defer { driver.stop() }
      try await eventually("mirror complete") {
        try await driver.status().get().objection == nil
      }
      guard case .refuse(.unknownKey, let proof) = try await driver.verdict(of: KeyID(secret: "a".utf8)).get() else {
        Issue.record("an unknown key wasn't refused")
        return
      }
      #expect(proof.version == 1)
    }
  }
}
