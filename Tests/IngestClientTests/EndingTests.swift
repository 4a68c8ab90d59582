// How a client ends: which payloads it still delivers, and what it reports about the others.

import Logging
import RedisFixture
import ServiceLifecycle
import Testing

@testable import IngestClient

struct EndingTests {
  private func payload(_ text: String = "{}") -> IngestClient.Payload {
    IngestClient.Payload(Array(text.utf8), contentType: "application/json")
  }

  @Test func `graceful shutdown delivers what is there`() async throws {
    let server = try await PushServer.start { _, _ in .answer(202) }
    let running = try RunningClient(server.endpoint) { $0.concurrency = 2 }
    for number in 0..<200 { try running.client.submit(payload("\(number)")) }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(services: [.init(service: running.client)], logger: running.log.logger))
    let ended = Task { try await group.run() }
    try await eventually("some are delivered") { server.pushes.count > 10 }
    await group.triggerGracefulShutdown()
    try await ended.value
    let report = await running.client.drain()
    #expect(report.undelivered.isEmpty)
    #expect(report.delivered > 0)
    #expect(Set(server.pushes.map(\.idempotencyKey)).count == 200)
    #expect(throws: IngestClient.Rejection.ending) { try running.client.submit(payload()) }
  }

  @Test func `a drain ends at its deadline, and reports what isn't known to be delivered`() async throws {
    let server = try await PushServer.start { _, number in number < 3 ? .answer(202) : .silence }
    let running = try RunningClient(server.endpoint) {
      $0.concurrency = 1
      $0.drainDeadline = .seconds(10)
    }
    let pushes = try (0..<10).map { try running.client.submit(payload("\($0)")) }
    let run = Task { try await running.client.run() }
    try await eventually("the fourth is in flight") { server.pushes.count == 4 }
    let draining = Task { await running.client.drain() }
    try await eventually("it takes no more") { (try? running.client.submit(payload())) == nil }
    running.clock.advance(by: .seconds(10))
    let report = await draining.value
    try await run.value
    let undelivered = report.undelivered.map(\.payload.idempotencyKey)
    #expect(Set(pushes[3...].map(\.idempotencyKey)).isSubset(of: undelivered))
    #expect(Set(undelivered).isDisjoint(with: pushes[..<3].map(\.idempotencyKey)))
    #expect(report.undelivered.allSatisfy { $0.reason == .ended })
    let inFlight = try #require(report.undelivered.first { $0.payload.idempotencyKey == pushes[3].idempotencyKey })
    #expect(inFlight.attempts == 1)
    #expect(inFlight.lastFailure != nil)
    for push in pushes[3...] {
      guard case .undelivered = try await push.outcome() else { throw NeverHappened(description: "undelivered") }
    }
  }

  @Test func `a client whose task is cancelled gives everything back at once`() async throws {
    let server = try await PushServer.start { _, _ in .silence }
    let running = try RunningClient(server.endpoint)
    let pushes = try (0..<20).map { try running.client.submit(payload("\($0)")) }
    let run = Task { try await running.client.run() }
    try await eventually("some are in flight") { server.pushes.count == 8 }
    run.cancel()
    try await run.value
    for push in pushes {
      guard case .undelivered(let undelivered) = try await push.outcome() else {
        throw NeverHappened(description: "undelivered")
      }
      #expect(undelivered.reason == .ended)
    }
    #expect(await running.client.drain().undelivered.count == 20)
    #expect(running.undelivered.all.count == 20)
  }

  @Test func `a client runs once`() async throws {
    let server = try await PushServer.start { _, _ in .answer(202) }
    let running = try RunningClient(server.endpoint)
    try await running.running {
      _ = try await running.client.push(payload())
      await #expect(throws: (any Error).self) { try await running.client.run() }
    }
  }

  @Test func `the states end with the client`() async throws {
    let running = try RunningClient("http://127.0.0.1:1/v1/events")
    let states = running.client.states()
    await running.client.drain()
    var seen: [IngestClient.State] = []
    for await state in states { seen.append(state) }
    for await state in running.client.states() { seen.append(state) }
    #expect(seen == [.engaged, .engaged])
  }
}
