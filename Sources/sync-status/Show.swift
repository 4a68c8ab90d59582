import ArgumentParser
import Fleet
import Foundation
import CommandSupport

/// Shows the fleet, once or repeatedly.
struct Show: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the fleet. The default subcommand.")

  @OptionGroup var access: FleetAccess

  private static let json = Setting.flag("json", "Print JSON instead of a page.")
  @Flag(help: Self.json.help) var json = false

  private static let watch = Setting.flag("watch", "Refresh every second, until Ctrl-C.")
  @Flag(help: Self.watch.help) var watch = false

  func run() async throws {
    let settings = Settings()
    let json = try settings.flag(Self.json, given: json)
    let watch = try settings.flag(Self.watch, given: watch)
    try await access.run { fleet in
      if watch {
        try await follow(fleet, json: json)
      } else {
        let look = await Look.at(fleet)
        if case .unknown(let reason) = look { complain("unknown: \(reason)") }
        try write(try look.text(fleet, json: json, colours: Terminal.output.colours))
        switch look {
        case .known(_, let verdict) where verdict.isWell: break
        case .known: throw Outcome.notInSync
        case .unknown: throw Outcome.cannotTell
        }
      }
    }
  }

  /// Ends at a signal, or when the reader has closed the pipe.
  private func follow(_ fleet: FleetAccess.Fleet, json: Bool) async throws {
    let redraws = Terminal.output.isTerminal && !json
    let clock = ContinuousClock()
    var next = clock.now
    while true {
      let look = await Look.at(fleet)
      var text = try look.text(fleet, json: json, pretty: false, colours: Terminal.output.colours)
      if case .unknown(let reason) = look, !json { text = "UNKNOWN: \(Wording.printable(reason))\n" }
      if redraws {
        // Overwrites the old text: clearing the screen first would flicker.
        text = "\u{1B}[H" + text.replacing("\n", with: "\u{1B}[K\n") + "\u{1B}[J"
      } else if !json {
        text = "--- \(Date.now.formatted(.iso8601))\n\(text)\n"
      }
      try write(text)
      next = max(next + .seconds(1), clock.now)
      try await clock.sleep(until: next)
    }
  }

  private func write(_ text: String) throws {
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    } catch {
      complain("can't write to the standard output: \(error.localizedDescription)")
      throw Outcome.cannotTell
    }
  }
}

/// One reading of the fleet's state.
enum Look {
  case known(FleetFacts, FleetVerdict)
  /// Why the state is unknown.
  case unknown(String)

  static func at(_ fleet: FleetAccess.Fleet) async -> Look {
    do {
      let facts = try await FleetFacts.read(
        from: fleet.keys, reports: fleet.reports, shards: fleet.shards, namespace: fleet.namespace)
      return .known(facts, FleetVerdict(facts))
    } catch {
      return .unknown("\(error)")
    }
  }

  /// The text for standard output. Without `json` it is empty if the state is unknown.
  func text(_ fleet: FleetAccess.Fleet, json: Bool, pretty: Bool = true, colours: Bool) throws -> String {
    switch self {
    case .known(let facts, let verdict):
      json
        ? try StatusDocument(facts, verdict).json(pretty: pretty)
        : StatusTable(facts, verdict, place: fleet.place, colours: colours).render()
    case .unknown(let reason): json ? try UnknownStatusDocument(reason: reason).json(pretty: pretty) : ""
    }
  }
}

/// The properties of standard output.
struct Terminal {
  let isTerminal: Bool
  let colours: Bool

  static let output: Terminal = {
    let isTerminal = isatty(STDOUT_FILENO) == 1
    let environment = ProcessInfo.processInfo.environment
    // https://no-color.org: set to any value except an empty text.
    let wanted = (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    return Terminal(isTerminal: isTerminal, colours: isTerminal && wanted)
  }()
}
