// How fast a spool with a flood of one account is drained into a real Redis that syncs each write, and when other
// accounts' payloads arrive.

import IngestQueue
import Logging
import NIOCore
import RedisClient
import RedisFixture
import Synchronization
import Testing

@testable import IngestSpool

struct SpoolPaceTests {
  @Test func `a few payloads behind a flood are in Redis at once, and the flood at the drain's rate`() async throws {
    let bench = try SpoolBench()
    // The next process has to read all of it again.
    let first = try bench.open { $0.waitingEntries = 100_000 }
    let flood = 30_000
    let futures = (0..<flood + 20).map { number in
      first.append(
        Sample.header(number, of: number < flood ? "flood" : "small"), payload: Sample.payload(number), on: Sample.loop)
    }
    for future in futures { try await future.get() }
    #expect(try await first.close() == flood + 20)

    let spool = try bench.open()
    let server = try await RedisServer.start(RedisServerOptions { $0.appendOnly = .always })
    let client = RedisClient(endpoint: server.tcpEndpoint, on: Sample.loop, logger: .init(label: "redis"))
    let producer = QueueProducer(client: client)
    let pushed = Mutex((small: 0, flood: 0, floodBeforeSmall: 0))
    let drain = SpoolDrain(spool, logger: .init(label: "drain")) { header, payload in
      let future = producer.submit(header, payload: payload)
      future.whenSuccess {
        pushed.withLock { pushed in
          if header.account == "flood" { return pushed.flood += 1 }
          pushed.small += 1
          pushed.floodBeforeSmall = pushed.flood
        }
      }
      return future
    }
    let begun = ContinuousClock.now
    let running = Task { await drain.run() }
    try await eventually(within: .seconds(60), "it is drained") { spool.figures.entries == 0 }
    let took = ContinuousClock.now - begun
    print("drained \(flood) payloads in \(took)")
    let counts = pushed.withLock { $0 }
    #expect(counts.small == 20 && counts.floodBeforeSmall < flood / 2, "\(counts)")
    running.cancel()
    await running.value
    try await producer.drain().get()
    try await client.shutDown().get()
    try await server.stop()
    #expect(try await spool.close() == 0)
  }
}
