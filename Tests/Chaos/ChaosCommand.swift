// Tests Sluice under all faults that one machine can produce, in rounds, with real processes. Started by Scripts/chaos,
// which explains the options.

import ArgumentParser
import Foundation
import RedisFixture

@main
struct ChaosCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chaos", abstract: "Faults in rounds, on real processes, and a ledger held against the sink.")

  @Option(help: "How many rounds.") var rounds = 20
  @Option(help: "What the faults are drawn from; random by default, and printed.") var seed: UInt64?
  @Option(help: "The first round's number.") var from = 1
  @Option(name: .customLong("seconds-per-round"), help: "How long faults go on in a round.") var secondsPerRound = 2.5
  @Option(help: "Seconds within which everything must converge after the faults.") var converge = 30
  @Option(help: "Plays all rounds on this server: redis-7.0, redis-8 or valkey-9; drawn for each round by default.")
  var server: String?
  @Flag(help: "Shows what happened when in each round.") var timeline = false

  func validate() throws {
    guard rounds >= 1 else { throw ValidationError("--rounds needs a number from 1 up, got \(rounds)") }
    guard from >= 1 else { throw ValidationError("--from needs a number from 1 up, got \(from)") }
    _ = try servers()
    guard (0.5...600).contains(secondsPerRound) else {
      throw ValidationError("--seconds-per-round needs 0.5 to 600, got \(secondsPerRound)")
    }
    guard (1...600).contains(converge) else {
      throw ValidationError("--converge needs 1 to 600, got \(converge)")
    }
  }

  private func servers() throws -> [RedisBuild] {
    guard let server else { return RedisBuild.supported }
    guard let build = RedisBuild(rawValue: server), RedisBuild.supported.contains(build) else {
      let names = RedisBuild.supported.map(\.rawValue).joined(separator: ", ")
      throw ValidationError("--server needs one of \(names), got \(server)")
    }
    return [build]
  }

  func run() async throws {
    // Writing to a client's connection that is gone must not end us.
    signal(SIGPIPE, SIG_IGN)
    let seed = seed ?? UInt64.random(in: 0...UInt64(UInt32.max))
    let folder = URL(filePath: "/tmp/sluice-chaos-\(getpid())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
    let interrupts = Interrupts(folder: folder)
    say("chaos: seed \(seed), rounds \(from) to \(from + rounds - 1), in \(folder.path)")
    let run = Run(
      seed: seed, folder: folder, span: .seconds(secondsPerRound), bound: .seconds(converge), showsTimelines: timeline,
      servers: try servers())
    do {
      try await run.run(from..<from + rounds)
    } catch let failure as Run.Failure {
      let options =
        (secondsPerRound == 2.5 ? "" : " --seconds-per-round \(secondsPerRound)")
        + (converge == 30 ? "" : " --converge \(converge)") + (server.map { " --server \($0)" } ?? "")
      say(failure.text)
      say("\nFAILED in round \(failure.round) with seed \(seed): \(failure.reason)")
      say("repeat with: Scripts/chaos --seed \(seed) --from \(failure.round) --rounds 1\(options)")
      say("what was left: \(folder.path)")
      throw ExitCode(1)
    }
    withExtendedLifetime(interrupts) {}
    SpoolDisk.unmount(in: folder)
    try FileManager.default.removeItem(at: folder)
  }
}

/// Ctrl-C and SIGTERM: everything that was started dies with us, and the folder goes too.
private final class Interrupts {
  private let sources: [any DispatchSourceSignal]

  init(folder: URL) {
    sources = [SIGINT, SIGTERM].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        say("chaos: interrupted")
        SpoolDisk.unmount(in: folder)
        do { try FileManager.default.removeItem(at: folder) } catch { say("\(folder.path) is left: \(error)") }
        exit(128 + number)
      }
      source.resume()
      return source
    }
  }
}
