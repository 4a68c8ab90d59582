// What one contender did in one round: what wrk saw, and what the server and its Redis used for it.

import Foundation
import RedisFixture

/// A way in which all contenders are pushed at.
struct PushCase {
  var title: String
  var connections: Int
  var bodyBytes = 1_024
  var seconds = 4
  /// Whether everything is taken out of Redis ten times a second, so that large bodies don't fill the machine.
  var takesAway = false
}

struct PushRound {
  var perSecond: Double
  var megabytesPerSecond: Double
  /// Of processors, for each push.
  var serverMicroseconds: Double
  var redisMicroseconds: Double
  var p99Milliseconds: Double
  /// The most memory that was in use in this round.
  var serverPeakMegabytes: Double
  var redisPeakMegabytes: Double

  var microseconds: Double { serverMicroseconds + redisMicroseconds }

  static func measure(_ contender: PushContender, _ load: PushCase) async throws -> PushRound {
    let (server, redis) = (contender.process.pid, try contender.redisProcess())
    try await contender.empty()
    try Machine.resetPeak(ofFamily: server)
    try Machine.resetPeak(ofFamily: redis)
    let before = try ProcessUse.now(program: server, redis: redis)
    let wrk = try await Wrk.start(
      contender.url, connections: load.connections, seconds: load.seconds,
      environment: ["WRK_KEY": contender.key, "WRK_METHOD": contender.method, "WRK_BODY": "\(load.bodyBytes)"])
    var taken = 0
    let result = try await wrk.result {
      if load.takesAway { taken += try await contender.takeAway() }
    }
    let after = try ProcessUse.now(program: server, redis: redis)
    guard result.refused == 0 else {
      throw CannotMeasure("\(contender.name) refused \(result.refused) pushes, \(load.title)")
    }
    let pushed = try await contender.pushed() + taken
    // Those that wrk cut off at its end may be in the list too; in flight there is one for each connection.
    let strays = contender.kind.answersStrangers ? max(load.connections, PushContender.warmUpConnections) : 0
    let expected = result.requests - strays...result.requests + load.connections
    guard !contender.pushes || expected.contains(pushed) else {
      throw CannotMeasure(
        "\(contender.name) accepted \(result.requests) pushes, and \(pushed) are in Redis, \(load.title)")
    }
    let spending = try Spending(result.requests, from: before, to: after)
    return PushRound(
      perSecond: result.perSecond, megabytesPerSecond: result.perSecond * Double(load.bodyBytes) / 1e6,
      serverMicroseconds: spending.programMicroseconds, redisMicroseconds: spending.redisMicroseconds,
      p99Milliseconds: result.p99Milliseconds,
      serverPeakMegabytes: Double(try Machine.peakBytes(ofFamily: server)) / 1e6,
      redisPeakMegabytes: Double(try Machine.peakBytes(ofFamily: redis)) / 1e6)
  }
}

extension PushRound {
  /// A figure of each round, under its name.
  struct Column: Sendable {
    let name: String
    let value: @Sendable (PushRound) -> Double

    static let perSecond = Column(name: "pushes a second") { $0.perSecond }
    static let megabytesPerSecond = Column(name: "MB a second") { $0.megabytesPerSecond }
    static let server = Column(name: "server, µs a push") { $0.serverMicroseconds }
    static let redis = Column(name: "Redis, µs a push") { $0.redisMicroseconds }
    static let both = Column(name: "server and Redis, µs a push") { $0.microseconds }
    static let p99 = Column(name: "p99, ms") { $0.p99Milliseconds }
    static let serverPeak = Column(name: "server's peak, MB") { $0.serverPeakMegabytes }
    static let redisPeak = Column(name: "Redis's peak, MB") { $0.redisPeakMegabytes }
  }
}
