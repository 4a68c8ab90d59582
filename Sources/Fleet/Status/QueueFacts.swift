// The facts on which the queue's verdict is based: each shard by itself, because each may be in an unreachable Redis,
// and the workers' reports.

public import IngestQueue
public import RedisClient

/// A shard, and its content.
public struct ShardReading: Sendable, Equatable {
  /// Counted from 0.
  public var shard: Int
  /// The address of its Redis, without a password.
  public var place: String
  public var survey: Fact<QueueSurvey>

  public init(shard: Int, place: String, survey: Fact<QueueSurvey>) {
    self.shard = shard
    self.place = place
    self.survey = survey
  }
}

/// The queue and its workers, read within moments of each other.
public struct QueueFacts: Sendable, Equatable {
  public var shards: [ShardReading]
  /// The whole fleet. Only its workers are used here.
  public var fleet: Fact<FleetReading>

  public init(shards: [ShardReading], fleet: Fact<FleetReading>) {
    self.shards = shards
    self.fleet = fleet
  }

  /// The shards that could be read.
  var surveys: [(shard: Int, survey: QueueSurvey)] {
    shards.compactMap { reading in reading.survey.value.map { (reading.shard, $0) } }
  }

  /// When a shard was read, in milliseconds since 1970 by the nodes' clocks, which also set the times of payloads.
  func nodesTime(of survey: QueueSurvey) -> Int64 {
    guard let fleet = fleet.value else { return survey.state.readAt }
    return Int64(fleet.nodesTime(whenRedisSays: Double(survey.state.readAt) / 1_000) * 1_000)
  }

  /// Reads all facts. The shards are read in parallel, so that several unreachable ones take one deadline.
  /// - Parameters:
  ///   - shards: Each with a connection to its Redis.
  ///   - directory: The workers' reports.
  ///   - limit: For each step.
  public static func read(
    shards: [(client: RedisClient, layout: QueueLayout)], directory: FleetDirectory, within limit: Duration
  ) async -> QueueFacts {
    async let fleet: Fact<FleetReading> = Fact.reading { try await directory.read(within: limit) }
    let readings = await withTaskGroup(of: (Int, ShardReading).self) { group in
      for (place, (client, layout)) in shards.enumerated() {
        group.addTask {
          let survey = await Fact.reading {
            try await QueueSurvey.read(from: client, layout: layout, within: limit)
          }
          return (place, ShardReading(shard: layout.shard, place: "\(client.endpoint)", survey: survey))
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    return QueueFacts(shards: readings.sorted { $0.0 < $1.0 }.map(\.1), fleet: await fleet)
  }
}

extension Fact {
  static func reading(_ body: () async throws -> Value) async -> Fact {
    do { return .known(try await body()) } catch { return .unreadable("\(error)") }
  }
}
