import ArgumentParser
import Fleet
import Sluice

/// Waits until nodes are in sync, for scripts that put machines into a load balancer.
struct Wait: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Waits until nodes are in sync with the store as it is now, or later.",
    discussion: """
      Reads the store's version once at the start, and returns 0 as soon as all nodes (or the one that is named, or so \
      many) are in sync and have followed every change up to that version. Returns 1 when they don't in time, with what \
      is missing, and 2 when Redis couldn't be read all the time.
      """)

  @OptionGroup var access: FleetAccess
  @Option(
    help: ArgumentHelp("Wait for this node only. (environment: SLUICE_NODE)", valueName: "name")) var node: String?
  @Option(
    help: ArgumentHelp("Wait until so many nodes are in sync. (environment: SLUICE_COUNT)", valueName: "number"))
  var count: String?
  @Option(
    help: ArgumentHelp(
      "How long to wait at most: 30s, 5m, or a bare number of seconds. (environment: SLUICE_TIMEOUT)",
      valueName: "time"))
  var timeout: String?

  func run() async throws {
    let settings = Settings()
    let nodes = try nodes(settings)
    let timeout = try settings.required("timeout", given: timeout, as: Duration.self)
    try await access.run { fleet in
      let clock = ContinuousClock()
      let deadline = clock.now + timeout
      var wait = SyncWait(for: nodes)
      var missing: [SyncWait.Missing]?
      var trouble: String?
      while true {
        let limit = max(min(.seconds(2), deadline - clock.now), .milliseconds(100))
        do {
          let facts = try await FleetFacts.read(from: fleet.client, namespace: fleet.namespace, within: limit)
          if trouble != nil { complain("Redis can be read again") }
          trouble = nil
          let now = wait.look(at: facts)
          if now.isEmpty {
            print("in sync: \(waitedFor(nodes))")
            return
          }
          for line in wait.news(in: now) { complain("waiting: \(line)") }
          missing = now
        } catch {
          if trouble != "\(error)" { complain("waiting: cannot tell: \(error)") }
          trouble = "\(error)"
        }
        if clock.now >= deadline { break }
        try await clock.sleep(until: min(clock.now + .milliseconds(250), deadline))
      }
      guard let missing else {
        complain("cannot tell: Redis couldn't be read for \(Wording.time(timeout)): \(trouble ?? "no reason is known")")
        throw Outcome.cannotTell
      }
      complain("not in sync after \(Wording.time(timeout)):")
      for item in missing { complain(item.text) }
      if let trouble { complain("and at last it couldn't be told: \(trouble)") }
      throw Outcome.notInSync
    }
  }

  /// What is on the command line makes what is in the environment irrelevant, for both options together: --count overrules a
  /// machine's SLUICE_NODE.
  private func nodes(_ settings: Settings) throws -> SyncWait.Nodes {
    let settings = node == nil && count == nil ? settings : Settings(environment: [:])
    let name = try settings.optional("node", given: node, as: MemberName.self)
    let number = try settings.optional("count", given: count, in: 1...100_000, as: Int.self)
    switch (name, number) {
    case (nil, nil): return .all
    case (let name?, nil): return .named(name.text)
    case (nil, let number?): return .atLeast(number)
    case (_?, _?): throw ValidationError("expected either --node or --count, but both were given")
    }
  }

  private func waitedFor(_ nodes: SyncWait.Nodes) -> String {
    switch nodes {
    case .all: "all nodes"
    case .named(let name): name
    case .atLeast(let count): "at least \(Wording.number(count, "node"))"
    }
  }
}
