// Carries out the faults. A fault that is impossible because of another one (a command to a dead Redis) is noted and
// isn't a failure. A fault that can't be undone is a failure, unless the end of the round undoes it.

import Foundation
import Hiredis
import NIOCore
import RedisClient
import RedisFixture

/// Does what a plan says.
struct Mischief {
  let deployment: Deployment
  let timeline: Timeline

  /// Begins the fault, waits, and undoes it.
  func commit(_ planned: PlannedFault) async throws {
    timeline.note("begins: \(planned)")
    do {
      try await act(planned)
      timeline.note("over: \(planned.fault)")
    } catch {
      timeline.note("went wrong: \(planned.fault): \(error)")
      throw error
    }
  }

  private func act(_ planned: PlannedFault) async throws {
    switch planned.fault {
    case .kill(let role):
      try await deployment[role].kill()
      try await Task.sleep(for: planned.lasting)
      try await deployment[role].start()
    case .hold(let role):
      deployment[role].hold()
      try await Task.sleep(for: planned.lasting)
      deployment[role].release()
    case .end(let role):
      // Maximum time for a worker to end: its drain, and closing the sink.
      try await deployment[role].end(within: .seconds(15))
      try await Task.sleep(for: planned.lasting)
      try await deployment[role].start()
    case .killRedis:
      try await deployment.redis.kill9()
      try await Task.sleep(for: planned.lasting)
      try await deployment.redis.restart()
    case .holdRedis:
      try await deployment.redis.pause()
      try await Task.sleep(for: planned.lasting)
      try deployment.redis.resume()
    case .sleepRedis:
      await tell("DEBUG", "SLEEP", "\(planned.lasting / .seconds(1))", within: planned.lasting + .seconds(5))
    case .pauseRedis(let writesOnly):
      await tell(
        "CLIENT", "PAUSE", "\(Int(planned.lasting / .milliseconds(1)))", writesOnly ? "WRITE" : "ALL",
        within: .seconds(5))
      try await Task.sleep(for: planned.lasting)
    case .fillRedis:
      await attempt { try await deployment.fillRedis() }
      try await Task.sleep(for: planned.lasting)
      await attempt { try await deployment.emptyRedis() }
    case .forgetClients:
      await tell("SCRIPT", "FLUSH", within: .seconds(5))
      await tell("CLIENT", "KILL", "TYPE", "normal", within: .seconds(5))
    case .cut(let role): deployment.link(role)?.cut()
    case .cutAfter(let role, let bytes, let direction):
      deployment.link(role)?.cut(after: bytes, direction)
      try await Task.sleep(for: planned.lasting)
      deployment.link(role)?.set(.fair)
    case .weather(let role, let weather):
      deployment.link(role)?.set(weather)
      try await Task.sleep(for: planned.lasting)
      deployment.link(role)?.set(.fair)
    case .blackhole(let role, let cutsAtItsEnd):
      deployment.link(role)?.set(.still)
      try await Task.sleep(for: planned.lasting)
      if cutsAtItsEnd { deployment.link(role)?.cut() }
      deployment.link(role)?.set(.fair)
    case .failOver:
      deployment.replicated?.stall()
      try await Task.sleep(for: planned.lasting)
      try await deployment.replicated?.failOver()
    case .fillSpool:
      try deployment.spool?.fill()
      try await Task.sleep(for: planned.lasting)
      try deployment.spool?.empty()
    }
  }

  private func tell(_ name: String, _ arguments: String..., within limit: Duration) async {
    await attempt {
      _ = try await deployment.command(name, arguments: arguments, within: TimeAmount(limit))
    }
  }

  private func attempt(_ body: () async throws -> Void) async {
    do { try await body() } catch { timeline.note("couldn't: \(error)") }
  }
}
