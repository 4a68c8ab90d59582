// Everything that a judgement of the fleet rests on, as values, and the order in which it is read.
//
// The order is part of the meaning: the store's position is read before the reports, so a node that is at it has followed
// every change that was made before we began to look; and once more after them, so a node that is ahead of *that* has seen
// changes which the store has lost.
//
// All of that is in one Redis. The queue may be in others, which are asked side by side: one that is away costs the picture its own part, and
// no more time than one.

import Hiredis
public import IngestQueue
public import KeyReplica
import KeyStore
import NIOCore
public import RedisClient

/// What the reading of a part of the picture came to. A part that can't be read isn't an empty part.
public enum Fact<Value: Sendable & Equatable>: Sendable, Equatable {
  case known(Value)
  /// Why it couldn't be read, in words.
  case unreadable(String)

  public var value: Value? {
    if case .known(let value) = self { value } else { nil }
  }

  /// Why it couldn't be read; nil where it could.
  var obstacle: String? {
    if case .unreadable(let why) = self { why } else { nil }
  }
}

/// What Redis says of itself that matters to Sluice.
public struct RedisFacts: Sendable, Equatable {
  /// Which program it is: `Redis`, `Valkey`.
  public var program: String
  /// The program's own.
  public var version: String
  /// `master` or `slave`, in Redis's words.
  public var role: String
  public var usedBytes: UInt64
  /// 0 where there is no limit.
  public var limitBytes: UInt64
  public var evictionPolicy: String
  /// Whether it keeps an append-only file.
  public var appendsToFile: Bool
  /// Whether its last write to that file or its last snapshot failed.
  public var savingFails: Bool
  /// Which server this is, where an address leads to several; without a password.
  public var server: String?

  public init(
    program: String = "Redis", version: String, role: String, usedBytes: UInt64, limitBytes: UInt64,
    evictionPolicy: String,
    appendsToFile: Bool, savingFails: Bool, server: String? = nil
  ) {
    self.program = program
    self.version = version
    self.role = role
    self.usedBytes = usedBytes
    self.limitBytes = limitBytes
    self.evictionPolicy = evictionPolicy
    self.appendsToFile = appendsToFile
    self.savingFails = savingFails
    self.server = server
  }

  static func read(from client: RedisClient, within limit: Duration) async throws -> RedisFacts {
    let connection = try await client.connection(within: TimeAmount(limit)).get()
    let reply = try await connection.execute(RedisCommand("INFO"), within: TimeAmount(limit)).orThrow()
    guard let info = InfoFields(reply), var facts = RedisFacts(info: info) else { throw IncompleteInfo() }
    facts.server = "\(connection.server)"
    return facts
  }

  private struct IncompleteInfo: Error, CustomStringConvertible {
    var description: String { "Redis's INFO lacks figures that this build knows" }
  }

  /// Nil where a figure is missing.
  init?(info fields: InfoFields) {
    guard let program = ServerIdentity(fields), let role = fields["role"],
      let used = fields["used_memory"].flatMap({ UInt64($0) }),
      let most = fields["maxmemory"].flatMap({ UInt64($0) }), let policy = fields["maxmemory_policy"],
      let appends = fields["aof_enabled"]
    else { return nil }
    self.init(
      program: program.name, version: program.version, role: String(role), usedBytes: used, limitBytes: most,
      evictionPolicy: String(policy), appendsToFile: appends == "1",
      savingFails: fields["aof_last_write_status"] == "err" || fields["rdb_last_bgsave_status"] == "err")
  }
}

/// How much is where in the queue.
public struct QueueTotals: Sendable, Equatable {
  /// Payloads that nobody works on.
  public var pending: Int64
  /// Payloads that failed and wait to be tried again.
  public var later: Int64
  /// Payloads in the hands of workers.
  public var claimed: Int64
  /// Dead letters.
  public var dead: Int64
  /// Bytes of those, and which accounts have most.
  public var deadBytes: DeadLetterBytes
  /// How many seconds ago the payload that is next was received; nil where none waits or it can't be told.
  public var oldestSeconds: Double?
  /// What that follows from, in Unix seconds: when it was received by a node's clock, and when it was read by Redis's.
  var oldest: Oldest?

  struct Oldest: Sendable, Equatable {
    var receivedAt: Double
    var readAt: Double
  }

  public init(
    pending: Int64, later: Int64, claimed: Int64, dead: Int64, deadBytes: DeadLetterBytes = DeadLetterBytes(),
    oldestSeconds: Double? = nil
  ) {
    self.pending = pending
    self.later = later
    self.claimed = claimed
    self.dead = dead
    self.deadBytes = deadBytes
    self.oldestSeconds = oldestSeconds
  }
}

extension QueueTotals {
  /// What was read of several shards, together, but for who has dead letters; nil where nothing was.
  init?(_ shards: [ShardFacts]) {
    let known = shards.compactMap(\.queue.value)
    guard !known.isEmpty else { return nil }
    self.init(
      pending: known.reduce(0) { $0 + $1.pending }, later: known.reduce(0) { $0 + $1.later },
      claimed: known.reduce(0) { $0 + $1.claimed }, dead: known.reduce(0) { $0 + $1.dead },
      deadBytes: DeadLetterBytes(all: known.reduce(0) { $0 + $1.deadBytes.all }),
      oldestSeconds: known.compactMap(\.oldestSeconds).max())
  }
}

/// One shard of the queue, and the Redis that has it.
public struct ShardFacts: Sendable, Equatable {
  /// From 0.
  public var shard: Int
  /// The server that was asked, or the address where none was found; without a password.
  public var place: String
  public var queue: Fact<QueueTotals>
  /// Nil where it is the Redis of the keys.
  public var redis: Fact<RedisFacts>?

  public init(shard: Int, place: String, queue: Fact<QueueTotals>, redis: Fact<RedisFacts>? = nil) {
    self.shard = shard
    self.place = place
    self.queue = queue
    self.redis = redis
  }
}

/// The fleet, its store, its queue and its Redis, all read within moments of each other.
public struct FleetFacts: Sendable, Equatable {
  /// The store's position as it was before the reports were read; nil where there is no store.
  public var store: StorePosition?
  /// Its position after they were read.
  public var storeAfter: StorePosition?
  public var fleet: FleetReading
  /// In their order; none where nobody asked for them.
  public var shards: [ShardFacts]
  public var redis: Fact<RedisFacts>

  public init(
    store: StorePosition?, storeAfter: StorePosition?, fleet: FleetReading, shards: [ShardFacts],
    redis: Fact<RedisFacts>
  ) {
    self.store = store
    self.storeAfter = storeAfter
    self.fleet = fleet
    self.shards = shards
    self.redis = redis
  }

  /// All shards that could be read, together; nil where none could.
  public var queue: QueueTotals? { QueueTotals(shards) }

  /// Reads all of it.
  /// - Parameters:
  ///   - keys: Of the Redis of the keys.
  ///   - reports: Of the Redis of the fleet, which is the same one but in a cluster, where it has a slot of its own.
  ///   - shards: The queue's, each with its client, which may be the same one; none where the queue is no matter.
  ///   - limit: For the connection and each of the steps but the reads of the store's position, which have the
  ///     client's own deadline for commands.
  /// - Throws: Where the question whether the fleet is in sync can't be answered: ``RedisClient/RedisError``,
  ///   ``Hiredis/RedisServerError``, ``IncompatibleStore``, or an error that says what in the store isn't as it should be.
  public static func read(
    from keys: RedisClient, reports: RedisClient, shards: [(client: RedisClient, layout: QueueLayout)],
    namespace: Namespace, within limit: Duration = .seconds(2)
  ) async throws -> FleetFacts {
    let layout = StoreLayout(namespace: namespace)
    let connection = try await keys.connection(within: TimeAmount(limit)).get()
    async let queue = read(shards, home: keys, within: limit)
    let before = try position(try await connection.storePosition(layout))
    let fleet = try await FleetDirectory(client: reports, layout: FleetLayout(namespace: namespace))
      .read(within: limit)
    let after = try position(try await connection.storePosition(layout))
    let redis = await fact { try await RedisFacts.read(from: keys, within: limit) }
    let shards = await queue.map { shard in
      var shard = shard
      if case .known(var figures) = shard.queue {
        figures.oldestSeconds = figures.oldest.map { max(fleet.nodesTime(whenRedisSays: $0.readAt) - $0.receivedAt, 0) }
        shard.queue = .known(figures)
      }
      return shard
    }
    return FleetFacts(store: before, storeAfter: after, fleet: fleet, shards: shards, redis: redis)
  }

  private static func read(
    _ shards: [(client: RedisClient, layout: QueueLayout)], home: RedisClient, within limit: Duration
  ) async -> [ShardFacts] {
    await withTaskGroup(of: ShardFacts.self) { group in
      for (client, layout) in shards {
        group.addTask {
          let queue = await fact { try await QueueTotals.read(from: client, layout: layout, within: limit) }
          var facts = ShardFacts(shard: layout.shard, place: "\(client.endpoint)", queue: queue)
          // Whoever could be read is there to say where.
          guard case .known = queue, client !== home else { return facts }
          facts.redis = await fact { try await RedisFacts.read(from: client, within: limit) }
          if let server = facts.redis?.value?.server { facts.place = server }
          return facts
        }
      }
      return await group.reduce(into: []) { $0.append($1) }.sorted { $0.shard < $1.shard }
    }
  }

  private static func position(_ answer: StoreAnswer<StorePosition>) throws -> StorePosition? {
    switch answer {
    case .found(let position): return position
    case .noStore: return nil
    case .incompatible(let why): throw IncompatibleStore(description: why)
    }
  }

  private static func fact<Value>(_ body: () async throws -> Value) async -> Fact<Value> {
    do { return .known(try await body()) } catch { return .unreadable("\(error)") }
  }

}

/// There is a store, and this build doesn't understand it.
public struct IncompatibleStore: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

extension QueueTotals {
  static func read(from client: RedisClient, layout: QueueLayout, within limit: Duration) async throws -> QueueTotals {
    async let bytes = DeadLetterBytes.read(
      from: client, layout: layout, accounts: QueueSurvey.accountsNamed, within: limit)
    let state = try await QueueState.read(from: client, layout: layout, within: limit)
    var figures = QueueTotals(
      pending: state.pending, later: state.later, claimed: state.claimed, dead: state.dead, deadBytes: try await bytes)
    figures.oldest = state.oldestReceivedAt.map {
      Oldest(receivedAt: Double($0) / 1_000, readAt: Double(state.readAt) / 1_000)
    }
    return figures
  }
}
