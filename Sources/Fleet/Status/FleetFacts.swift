// The facts on which the fleet's verdict is based, as values, and the order in which they are read.
//
// The order matters. The store's position is read before the reports: a node at this position has followed every change
// made before the reading began. The position is read again after the reports: a node ahead of that one has seen
// changes that the store has lost.
//
// All of these facts are in one Redis. The queue may be in others, which are read concurrently. Each unreachable one
// loses only its own facts, and several take no longer than one.

import Hiredis
public import IngestQueue
public import KeyReplica
import KeyStore
import NIOCore
public import RedisClient

/// The result of reading one part of the facts. A part that can't be read isn't an empty part.
public enum Fact<Value: Sendable & Equatable>: Sendable, Equatable {
  case known(Value)
  /// Why the part couldn't be read, as text.
  case unreadable(String)

  public var value: Value? {
    if case .known(let value) = self { value } else { nil }
  }

  /// Why the part couldn't be read; nil if it could.
  var obstacle: String? {
    if case .unreadable(let why) = self { why } else { nil }
  }
}

/// The properties of a Redis server that matter to Sluice.
public struct RedisFacts: Sendable, Equatable {
  /// The program's name: `Redis`, `Valkey`.
  public var program: String
  /// The program's version.
  public var version: String
  /// `master` or `slave`, as Redis calls them.
  public var role: String
  public var usedBytes: UInt64
  /// 0 if there is no limit.
  public var limitBytes: UInt64
  public var evictionPolicy: String
  /// Whether it keeps an append-only file.
  public var appendsToFile: Bool
  /// Whether its last write to the append-only file, or its last snapshot, failed.
  public var savingFails: Bool
  /// The server that answered, if an address leads to several; without a password.
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
    var description: String { "Redis's INFO lacks fields that this build needs" }
  }

  /// Nil if a figure is missing.
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

/// The queue's payloads by their state.
public struct QueueTotals: Sendable, Equatable {
  /// Payloads that wait and are not claimed.
  public var pending: Int64
  /// Payloads that failed and wait for their next attempt.
  public var later: Int64
  /// Payloads that workers have claimed.
  public var claimed: Int64
  /// Dead letters.
  public var dead: Int64
  /// Bytes of dead letters, and the accounts that have most.
  public var deadBytes: AccountBytes
  /// The age of the next payload in seconds; nil if none waits or its age is unknown.
  public var oldestSeconds: Double?
  /// The times from which `oldestSeconds` is computed, in Unix seconds: when the payload was received, by a node's
  /// clock, and when this was read, by Redis's clock.
  var oldest: Oldest?

  struct Oldest: Sendable, Equatable {
    var receivedAt: Double
    var readAt: Double
  }

  public init(
    pending: Int64, later: Int64, claimed: Int64, dead: Int64, deadBytes: AccountBytes = AccountBytes(),
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
  /// The sums of several shards, without the accounts that have dead letters; nil if no shard was read.
  init?(_ shards: [ShardFacts]) {
    let known = shards.compactMap(\.queue.value)
    guard !known.isEmpty else { return nil }
    self.init(
      pending: known.reduce(0) { $0 + $1.pending }, later: known.reduce(0) { $0 + $1.later },
      claimed: known.reduce(0) { $0 + $1.claimed }, dead: known.reduce(0) { $0 + $1.dead },
      deadBytes: AccountBytes(all: known.reduce(0) { $0 + $1.deadBytes.all }),
      oldestSeconds: known.compactMap(\.oldestSeconds).max())
  }
}

/// One shard of the queue, and its Redis.
public struct ShardFacts: Sendable, Equatable {
  /// From 0.
  public var shard: Int
  /// The server that was asked, or the address if no server was found; without a password.
  public var place: String
  public var queue: Fact<QueueTotals>
  /// Nil if the shard is in the Redis of the keys.
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
  /// The store's position before the reports were read; nil if there is no store.
  public var store: StorePosition?
  /// The store's position after the reports were read.
  public var storeAfter: StorePosition?
  public var fleet: FleetReading
  /// In the order of their numbers; empty if the caller didn't ask for them.
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

  /// The sums of all shards that could be read; nil if none could.
  public var queue: QueueTotals? { QueueTotals(shards) }

  /// Reads all facts.
  /// - Parameters:
  ///   - keys: The client of the Redis of the keys.
  ///   - reports: The client of the Redis of the fleet. It is the same one, except in a cluster, where the fleet has
  ///     its own slot.
  ///   - shards: The queue's shards, each with its client, which may be the same one. Empty if the queue doesn't
  ///     matter.
  ///   - limit: For the connection and for each step, except the reads of the store's position, which have the client's
  ///     own command deadline.
  /// - Throws: If it can't be decided whether the fleet is in sync: ``RedisClient/RedisError``,
  ///   ``Hiredis/RedisServerError``, ``IncompatibleStore``, or an error that describes wrong data in the store.
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
          // If the queue can't be read, its server isn't asked for its address.
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

/// There is a store that this build doesn't understand.
public struct IncompatibleStore: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

extension QueueTotals {
  static func read(from client: RedisClient, layout: QueueLayout, within limit: Duration) async throws -> QueueTotals {
    async let bytes = AccountBytes.ofDeadLetters(
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
