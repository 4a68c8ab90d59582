import Fleet
import RedisFixture
import ServiceLifecycle
import Synchronization
import Testing

struct HeartbeatTests {
  /// Counts how often it was asked for a report.
  private final class Source: Sendable {
    private let count = Mutex(0)

    func report() -> NodeReport {
      count.withLock { count in
        count += 1
        return Sample.node { [count] in $0.keys = count }
      }
    }
  }

  @Test func `a member reports again and again, and at a graceful shutdown one last time`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      let source = Source()
      let heartbeat = Heartbeat(directory, every: .milliseconds(10), logger: quiet) { source.report() }
      let group = ServiceGroup(services: [heartbeat], logger: quiet)
      try await withThrowingTaskGroup { tasks in
        tasks.addTask { try await group.run() }
        try await eventually("three reports came") {
          try await directory.read().nodes.first.map { $0.report.keys >= 3 && !$0.stopped } ?? false
        }
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
      }
      let last = try #require(try await directory.read().nodes.first)
      #expect(last.stopped)
    }
  }

  private struct Failing: Service {
    let registered: Registration

    func run() async throws {
      // Wait for the heartbeat first: the test is about the report after it.
      try await eventually("the member is registered") { registered.state == .registered }
      throw DiskFull()
    }
  }

  private struct DiskFull: Error, CustomStringConvertible {
    var description: String { "the disk is full " + String(repeating: "!", count: 1_000) }
  }

  @Test func `the last report of a member that a failed service ends has the reason`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      let (registration, fatal) = (Registration(), FatalError())
      let heartbeat = Heartbeat(directory, every: .milliseconds(10), registration: registration, logger: quiet) {
        Sample.node { $0.fatalError = fatal.text }
      }
      let group = ServiceGroup(
        services: fatal.noting([heartbeat, Failing(registered: registration)]), logger: quiet)
      await #expect(throws: DiskFull.self) { try await group.run() }
      let last = try #require(try await directory.read().nodes.first)
      #expect(last.stopped)
      #expect(last.failure?.hasPrefix("the disk is full !!!") == true)
      #expect(last.failure?.count == 300)
    }
  }

  @Test func `one that isn't registered says so once and knows it, and says when it is`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client, limit: 1)
      try await directory.write(Sample.worker())
      let (registration, log) = (Registration(), RecordedLog())
      #expect(registration.state == .pending)
      let task = Task {
        await Heartbeat(directory, every: .milliseconds(10), registration: registration, logger: log.logger) {
          Sample.node()
        }.run()
      }
      try await eventually("it knows that the register is full") {
        registration.state.problem?.hasPrefix("the fleet's register is full") == true
      }
      try await eventually("it has tried again") {
        try await directory.read().turnedAway == [MemberID(.node, "node-1")]
      }
      try await directory.write(Sample.worker(), stopped: true)
      try await eventually("it is registered") { registration.state == .registered }
      task.cancel()
      await task.value
      #expect(
        log.lines.map { "\($0.level): \($0.message.prefix(20))" }
          == ["error: the fleet's register", "notice: report written to Re"])
    }
  }

  @Test func `the first report comes at once, and a cancelled one is noted as stopped too`() async throws {
    try await withClient { _, client in
      let directory = FleetDirectory(client: client)
      let source = Source()
      let task = Task {
        await Heartbeat(directory, every: .seconds(3_600), logger: quiet) { source.report() }.run()
      }
      try await eventually("the first report came") { try await !directory.read().nodes.isEmpty }
      task.cancel()
      await task.value
      let last = try #require(try await directory.read().nodes.first)
      #expect(last.stopped)
      #expect(last.report.keys == 2)
    }
  }

  @Test func `a member goes on while Redis is away, and is heard again when it is back`() async throws {
    try await withClient { server, client in
      let directory = FleetDirectory(client: client)
      let source = Source()
      let task = Task {
        await Heartbeat(directory, every: .milliseconds(10), logger: quiet) { source.report() }.run()
      }
      try await eventually("the first report came") { try await !directory.read().nodes.isEmpty }
      try await server.restart()  // Without a file: the fleet is forgotten.
      try await eventually("it reports again") { try await directory.read().nodes.first?.stopped == false }
      task.cancel()
      await task.value
    }
  }
}
