import KeyReplica
import NIOCore
import RedisClient
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(1))) struct AccountKeysTests {
  @Test func `after the deadline no further step is begun`() async throws {
    try await StoreBench.with { bench in
      try await bench.put(["a", "b"])
      let late = AccountKeys(connection: bench.connection, layout: bench.layout, deadline: .now())
      await #expect(throws: RedisError.self) { try await late.set(.suspended, of: "acme", isTrial: false) }
      // The connection is still used by others.
      let inTime = AccountKeys(connection: bench.connection, layout: bench.layout, deadline: .now() + .seconds(30))
      let outcome = try await inTime.set(.suspended, of: "acme", isTrial: false)
      #expect(outcome.changed == 2 && outcome.keys == 2, "\(outcome)")
    }
  }
}
