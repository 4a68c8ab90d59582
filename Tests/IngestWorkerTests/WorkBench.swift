import Hiredis
import IngestQueue
import IngestWorker
import Logging
import NIOCore
import NIOPosix
import QueueFixture
import RedisClient
import RedisFixture
import ServiceLifecycle
import Synchronization
import Testing

/// A queue on a Redis of its own, a folder for sinks, and workers in this process.
struct WorkBench {
  let server: RedisServer
  let client: RedisClient
  let producer: QueueProducer
  let folder: TemporaryFolder

  static func with(
    _ options: RedisServerOptions = RedisServerOptions(), _ body: (WorkBench) async throws -> Void
  ) async throws {
    try await withRedis(options) { server in
      let client = RedisClient(
        endpoint: server.endpoint, backoff: Backoff(first: .milliseconds(5), most: .milliseconds(20)),
        on: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
      defer { client.shutDown() }
      _ = try await client.connection(within: .seconds(5)).get()
      try await body(
        WorkBench(
          server: server, client: client, producer: QueueProducer(client: client), folder: try TemporaryFolder()))
    }
  }

  /// The file that workers store into.
  var path: String { folder.path("sink.db") }

  func push(_ numbers: some Sequence<Int>, payload: ByteBuffer = ByteBuffer(string: "payload")) async throws {
    try await push(numbers.map { .numbered($0) }, payload: payload)
  }

  func push(_ headers: [EnvelopeHeader], payload: ByteBuffer) async throws {
    try await push(headers, payload: payload, with: producer)
  }

  /// Pushes into another shard than the first.
  func push(_ headers: [EnvelopeHeader], payload: ByteBuffer, with producer: QueueProducer) async throws {
    try await producer.eventLoop.flatSubmit {
      EventLoopFuture.andAllSucceed(
        headers.map { producer.submit($0, payload: payload) }, on: producer.eventLoop)
    }.get()
  }

  func state(_ layout: QueueLayout = QueueLayout()) async throws -> QueueState {
    try await QueueState.read(from: client, layout: layout)
  }

  /// The envelopes that a worker has in this claim.
  func claimed(_ claim: QueueState.Claim) async throws -> [Int] {
    let key = QueueLayout().claim(worker: try #require(WorkerName(claim.worker)), slot: claim.slot)
    return try await client.execute(RedisCommand("LRANGE", key, 1, -1)).array().map {
      try Envelope($0.bytes()).header.number
    }
  }

  func deadLetters() async throws -> [WholeDeadLetter] {
    try await WholeDeadLetter.all(from: DeadLetters(client: client))
  }

  /// Which envelopes wait, the next one first.
  func pending() async throws -> [Int] {
    let reply = try await client.execute(RedisCommand("LRANGE", QueueLayout().pending(0), 0, -1))
    return try reply.array().reversed().map { try Envelope($0.bytes()).header.number }
  }

  /// - Parameter shards: Nil for the first one on the bench's own Redis.
  func worker(
    _ name: String = "worker-1", sink: any Sink, shards: [QueueShard]? = nil,
    _ change: (inout WorkerOptions) -> Void = { _ in }
  ) throws -> Worker {
    var options = WorkerOptions(name: try #require(WorkerName(name)), build: "test")
    change(&options)
    return Worker(
      shards: shards ?? [QueueShard(endpoint: server.endpoint, layout: QueueLayout())], options: options, sink: sink,
      logger: .silent)
  }

  /// Runs a worker while the body runs, then ends it in good order and waits until it has ended.
  func running(_ worker: Worker, _ body: () async throws -> Void) async throws {
    let group = ServiceGroup(configuration: ServiceGroupConfiguration(services: [worker], logger: .silent))
    let running = Task { try await group.run() }
    do {
      try await body()
    } catch {
      running.cancel()
      throw error
    }
    await group.triggerGracefulShutdown()
    try await running.value
  }

  func untilEmpty(within limit: Duration = .seconds(10)) async throws {
    try await eventually(within: limit, "the queue is empty") {
      let state = try await state()
      return state.pending + state.later + state.claimed == 0
    }
  }
}

/// A sink in memory that does what the test says.
final class ScriptedSink: Sink {
  private struct State {
    var stored: [Int] = []
    var calls = 0
  }

  private let state = Mutex(State())
  private let script: @Sendable (_ call: Int, [Delivery]) async throws(SinkFailure) -> [SinkOutcome]

  /// - Parameter script: Is told how many calls came before.
  init(
    _ script: @escaping @Sendable (_ call: Int, [Delivery]) async throws(SinkFailure) -> [SinkOutcome] = {
      _, deliveries in deliveries.map { _ in .stored }
    }
  ) {
    self.script = script
  }

  var name: String { "scripted" }
  /// Numbers of what was stored, in its order.
  var stored: [Int] { state.withLock { $0.stored } }
  var calls: Int { state.withLock { $0.calls } }

  func store(_ deliveries: [Delivery]) async throws(SinkFailure) -> [SinkOutcome] {
    let call = state.withLock {
      $0.calls += 1
      return $0.calls - 1
    }
    let outcomes = try await script(call, deliveries)
    state.withLock {
      for (delivery, outcome) in zip(deliveries, outcomes) where outcome == .stored {
        $0.stored.append(delivery.header.number)
      }
    }
    return outcomes
  }

  func close() async {}
}
