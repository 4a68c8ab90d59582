import Hiredis
import IngestQueue
import Logging
import NIOCore
import NIOPosix
import QueueFixture
import RedisClient
import RedisFixture
import Testing

/// A queue on a Redis of its own, and what a test needs to fill it and look at it.
struct QueueUnderTest {
  let server: RedisServer
  let client: RedisClient
  let producer: QueueProducer
  let layout = QueueLayout()

  static func with(
    _ options: RedisServerOptions = RedisServerOptions(), _ body: (QueueUnderTest) async throws -> Void
  ) async throws {
    try await withRedis(options) { server in
      let client = RedisClient(
        endpoint: server.endpoint, backoff: Backoff(first: .milliseconds(5), most: .milliseconds(20)),
        on: MultiThreadedEventLoopGroup.singleton.next(), logger: .silent)
      defer { client.shutDown() }
      _ = try await client.connection(within: .seconds(5)).get()
      // What is tested with it is the other half, on however busy a machine.
      let producer = QueueProducer(client: client, limits: ProducerLimits(deadline: .seconds(60)))
      try await body(QueueUnderTest(server: server, client: client, producer: producer))
    }
  }

  func worker(
    _ name: String = "worker-1", _ change: (inout ConsumerLimits) -> Void = { _ in }
  ) throws -> QueueConsumer {
    var limits = ConsumerLimits()
    change(&limits)
    return QueueConsumer(client: client, worker: try #require(WorkerName(name)), limits: limits)
  }

  /// Pushes envelopes with these numbers, in their order.
  func push(
    _ numbers: some Sequence<Int>, of account: String = EnvelopeHeader.plain.account,
    payload: ByteBuffer = ByteBuffer(string: "payload")
  ) async throws {
    let headers = numbers.map { number in
      var header = EnvelopeHeader.numbered(number)
      header.account = account
      return header
    }
    try await producer.eventLoop.flatSubmit {
      EventLoopFuture.andAllSucceed(
        headers.map { producer.submit($0, payload: payload) }, on: producer.eventLoop)
    }.get()
  }

  /// Puts envelopes with these numbers into one of the lists, in their order.
  func fill(
    _ list: Int, _ numbers: some Sequence<Int>, payload: [UInt8] = Array("payload".utf8)
  ) async throws {
    var numbers = Array(numbers)[...]
    while !numbers.isEmpty {
      let elements = numbers.prefix(1_000).map { EnvelopeHeader.numbered($0).encoded + payload }
      numbers = numbers.dropFirst(1_000)
      _ = try await client.execute(
        RedisCommand("LPUSH", arguments: [layout.pending(list)] + elements as [any RedisArgument])
      ).integer()
    }
  }

  func state() async throws -> QueueState { try await QueueState.read(from: client) }

  func send(_ name: String, _ arguments: any RedisArgument...) async throws -> RedisReply {
    try await client.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }

  /// Which envelopes wait in a list, the next one first.
  func pending(_ list: Int = 0) async throws -> [Int] {
    try await send("LRANGE", layout.pending(list), 0, -1).array().reversed().map {
      try Envelope($0.bytes()).header.number
    }
  }

  func deadLetters() async throws -> [WholeDeadLetter] {
    try await WholeDeadLetter.all(from: DeadLetters(client: client))
  }

  /// Bytes of dead letters by account, added up from the letters themselves. What has no account has an empty name.
  func recountedDeadBytes() async throws -> [String: Int64] {
    try await send("XRANGE", layout.dead, "-", "+").array().reduce(into: [:]) { sums, entry in
      let fields = try (try entry.array())[1].array().map { try $0.bytes() }
      let names = stride(from: 0, to: fields.count, by: 2).map { String(decoding: fields[$0], as: UTF8.self) }
      let account = names.firstIndex(of: "account").map { String(decoding: fields[2 * $0 + 1], as: UTF8.self) }
      sums[account ?? "", default: 0] += Int64(fields.reduce(0) { $0 + $1.count })
    }
  }

  /// The same as it is kept, and that the sum of all fits.
  func keptDeadBytes() async throws -> [String: Int64] {
    let kept = try await AccountBytes.ofDeadLetters(from: client)
    let sums = Dictionary(uniqueKeysWithValues: kept.accounts.map { ($0.name, $0.bytes) })
    guard kept.all == sums.values.reduce(0, +), kept.accounts.map(\.bytes) == sums.values.sorted(by: >) else {
      throw Unexpected(description: "bytes of dead letters that don't fit together: \(kept)")
    }
    return sums
  }

  /// Names of all keys: a queue that is through leaves none but the list of its workers.
  func keys() async throws -> Set<String> {
    try await Set(send("KEYS", "*").array().map { try $0.string() })
  }
}

extension QueueConsumer {
  /// A claim that must bring a batch.
  func batch(slot: Int = 0, takesSuspects: Bool = true) async throws -> ClaimedBatch {
    let claim = try await claim(slot: slot, takesSuspects: takesSuspects)
    guard case .batch(let batch) = claim else { throw Unexpected(description: "expected a batch, got \(claim)") }
    return batch
  }

  func claimsNothing(slot: Int = 0, takesSuspects: Bool = true) async throws -> Bool {
    if case .empty = try await claim(slot: slot, takesSuspects: takesSuspects) { true } else { false }
  }

  /// Waits until the reaper has found ended leases.
  func reapSomething() async throws -> Reaping {
    var reaping = Reaping()
    try await eventually("a lease has ended and is reaped") {
      reaping = try await reap()
      return reaping.putBack + reaping.dead > 0
    }
    return reaping
  }
}

extension ClaimedBatch {
  var numbers: [Int] {
    get throws { try entries.map { try $0.content.get().header.number } }
  }
}

struct Unexpected: Error, CustomStringConvertible {
  let description: String
}
