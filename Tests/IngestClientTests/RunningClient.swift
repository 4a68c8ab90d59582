// A client that runs against a server on loopback, in virtual time: requests are real, waits cost nothing.

import CoreMetrics
import IngestClient
import Logging
import RedisFixture
import Synchronization

@testable import IngestClient

/// A client, its clock, and what it has told.
struct RunningClient: Sendable {
  let client: IngestClient
  let clock: VirtualClock
  let log: RecordedLog
  let undelivered: Told

  /// What `onUndelivered` was called with.
  final class Told: Sendable {
    private let list = Mutex<[IngestClient.Undelivered]>([])
    var all: [IngestClient.Undelivered] { list.withLock { $0 } }
    func add(_ undelivered: IngestClient.Undelivered) { list.withLock { $0.append(undelivered) } }
  }

  static let key = "sk_test_very_secret"

  init(
    _ endpoint: String, metrics: any MetricsFactory = NOOPMetricsHandler.instance,
    _ change: (inout IngestClient.Configuration) throws -> Void = { _ in }
  ) throws {
    var configuration = IngestClient.Configuration(endpoint: endpoint, key: try PushKey(Self.key))
    try change(&configuration)
    let clock = VirtualClock()
    let log = RecordedLog()
    let undelivered = Told()
    self.clock = clock
    self.log = log
    self.undelivered = undelivered
    client = try IngestClient(
      configuration, logger: log.logger, metrics: metrics, clock: clock, onUndelivered: { undelivered.add($0) })
  }

  /// Runs the client around the body, and ends it when the body has.
  func running(_ body: () async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await client.run() }
      try await body()
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  /// Lets time pass from one thing that is due to the next until the condition holds; never while a request is in flight, so
  /// that none runs into its deadline by the test's doing.
  func passTime(until description: String, _ condition: () async throws -> Bool) async throws {
    try await eventually(description) {
      if try await condition() { return true }
      let due = client.due
      if due.inFlight == 0, let wake = due.nextWake { clock.advance(to: wake) }
      return false
    }
  }
}
