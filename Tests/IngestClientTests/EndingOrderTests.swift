// run(), drain(), cancelling and graceful shutdown in every order that a program can come to, mostly by a race that
// it doesn't know of. Two things must hold in all of them: what was submitted is delivered or given back, and nothing
// crashes, throws or waits for ever that the caller has no part in.

import Logging
import RedisFixture
import ServiceLifecycle
import Synchronization
import Testing

@testable import IngestClient

struct EndingOrderTests {
  private func payload(_ text: String = "{}") -> IngestClient.Payload {
    IngestClient.Payload(Array(text.utf8), contentType: "application/json")
  }

  /// What a program does with a client that has payloads in its buffer.
  enum Order: String, CaseIterable, Sendable {
    case `run, and drain at once`, `drain, and run at once`, `drain alone`, `drain twice at once`, `run after drain`
    case `graceful shutdown before it runs`, `graceful shutdown as soon as it runs`, `drain as soon as it runs`
  }

  @Test(arguments: Order.allCases) func `what was submitted is delivered`(order: Order) async throws {
    // Races have more than one outcome.
    for _ in 0..<5 {
      let server = try await PushServer.start { _, _ in .answer(202) }
      let running = try RunningClient(server.endpoint)
      let client = running.client
      let pushes = try (0..<100).map { try client.submit(payload("\($0)")) }
      var report: IngestClient.DrainReport
      switch order {
      case .`run, and drain at once`:
        let run = Task { try await client.run() }
        report = await client.drain()
        try await run.value
      case .`drain, and run at once`:
        let drain = Task { await client.drain() }
        try await client.run()
        report = await drain.value
      case .`drain alone`: report = await client.drain()
      case .`drain twice at once`:
        async let other = client.drain()
        report = await client.drain()
        #expect(await other.delivered == report.delivered)
      case .`run after drain`:
        report = await client.drain()
        try await client.run()
      case .`graceful shutdown before it runs`:
        let group = ServiceGroup(
          configuration: ServiceGroupConfiguration(services: [.init(service: client)], logger: running.log.logger))
        await group.triggerGracefulShutdown()
        // Its services never hear of it, and are never run.
        try await group.run()
        report = await client.drain()
      case .`graceful shutdown as soon as it runs`:
        let group = ServiceGroup(
          configuration: ServiceGroupConfiguration(services: [.init(service: client)], logger: running.log.logger))
        let run = Task { try await group.run() }
        await group.triggerGracefulShutdown()
        try await run.value
        report = await client.drain()
      case .`drain as soon as it runs`:
        let run = Task { try await client.run() }
        try await eventually("one is in flight") { client.due.inFlight > 0 || client.bufferedPayloads < 100 }
        report = await client.drain()
        try await run.value
      }
      #expect(report.undelivered.isEmpty)
      // What was delivered before draining began isn't among it.
      let isAll = [.`drain alone`, .`run after drain`].contains(order)
      #expect(isAll ? report.delivered == 100 : report.delivered <= 100)
      #expect(Set(server.pushes.map(\.idempotencyKey)) == Set(pushes.map(\.idempotencyKey)))
      for push in pushes {
        guard case .delivered = try await push.outcome() else { throw NeverHappened(description: "delivered") }
      }
      #expect(running.undelivered.all.isEmpty)
      let rejection = #expect(throws: IngestClient.Rejection.ending) { try client.submit(payload()) }
      #expect(rejection?.description == "the client is draining or has ended: it takes no more payloads")
    }
  }

  @Test func `without run() a drain from a server that is away ends at its deadline, and gives everything back`()
    async throws
  {
    let running = try RunningClient("http://127.0.0.1:1/v1/events") { $0.drainDeadline = .seconds(10) }
    let pushes = try (0..<5).map { try running.client.submit(payload("\($0)")) }
    let draining = Task { await running.client.drain() }
    try await eventually("it was tried") { running.log.text.contains("push attempt failed") }
    running.clock.advance(by: .seconds(10))
    let report = await draining.value
    #expect(report.delivered == 0)
    #expect(Set(report.undelivered.map(\.payload.idempotencyKey)) == Set(pushes.map(\.idempotencyKey)))
    #expect(report.undelivered.allSatisfy { $0.reason == .ended && $0.description.contains("isn't delivered") })
    #expect(running.undelivered.all.count == 5)
    #expect(running.log.text.contains("warning client stopped with undelivered payloads"))
    // Whoever comes too late waits for nothing.
    try await running.client.run()
    #expect(await running.client.drain().undelivered.count == 5)
  }

  @Test func `a second drain doesn't move the deadline, and cancelling run() ends it at once`() async throws {
    let server = try await PushServer.start { _, _ in .silence }
    let running = try RunningClient(server.endpoint) { $0.drainDeadline = .seconds(10) }
    try running.client.submit(payload())
    let first = Task { await running.client.drain() }
    try await eventually("it is in flight") { server.pushes.count == 1 }
    running.clock.advance(by: .seconds(9))
    let second = Task { await running.client.drain() }
    // Whenever the second one begins, the moment is the first one's.
    running.clock.advance(by: .seconds(1))
    #expect(await first.value.undelivered.count == 1)
    #expect(await second.value.undelivered.count == 1)

    let other = try RunningClient(server.endpoint)
    try other.client.submit(payload())
    let run = Task { try await other.client.run() }
    try await eventually("it is in flight") { server.pushes.count == 2 }
    let draining = Task { await other.client.drain() }
    try await eventually("it drains") { (try? other.client.submit(payload())) == nil }
    run.cancel()
    try await run.value
    // And what was submitted until it drained.
    #expect(await draining.value.undelivered.count >= 1)
    #expect(other.client.bufferedPayloads == 0)
  }

  @Test func `a run that is cancelled before it begins gives everything back`() async throws {
    let running = try RunningClient("http://127.0.0.1:1/v1/events")
    let push = try running.client.submit(payload())
    let run = Task {
      while !Task.isCancelled { await Task.yield() }
      try await running.client.run()
    }
    run.cancel()
    try await run.value
    guard case .undelivered = try await push.outcome() else { throw NeverHappened(description: "undelivered") }
    #expect(await running.client.drain().undelivered.count == 1)
  }

  @Test func `a client that is released unused gives its payloads back, and nobody waits for them in vain`()
    async throws
  {
    let log = RecordedLog()
    let told = RunningClient.Told()
    var configuration = IngestClient.Configuration(
      endpoint: "http://127.0.0.1:1/v1/events", key: try PushKey("sk_test"))
    configuration.buffer.payloads = 3
    var client: IngestClient? = try IngestClient(configuration, logger: log.logger, onUndelivered: { told.add($0) })
    let states = try #require(client).states()
    let push = try #require(client).submit(payload())
    let waiting = Task { try await push.outcome() }
    client = nil
    guard case .undelivered(let undelivered) = try await waiting.value else {
      throw NeverHappened(description: "undelivered")
    }
    #expect(undelivered.reason == .ended && undelivered.attempts == 0)
    #expect(told.all.map(\.payload.idempotencyKey) == [push.idempotencyKey])
    #expect(log.text.contains("released before run() or drain() was called"))
    var seen: [IngestClient.State] = []
    for await state in states { seen.append(state) }
    #expect(seen == [.engaged])
  }
}
