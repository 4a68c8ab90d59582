import ArgumentParser
import Fleet
import CommandSupport

/// Waits until nodes are in sync, for scripts that add machines to a load balancer.
struct Wait: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Waits until nodes are in sync with the current version of the key store.",
    discussion: """
      Reads the store's version once at the start, and ends with status 0 as soon as all nodes (or the one of --node, or as \
      many as --count) are in sync and have followed every change up to that version. After --timeout it says what is \
      missing and ends with 1, or with 2 if Redis could never be read.
      """)

  @OptionGroup var access: FleetAccess

  private static let node = Setting<MemberName>("node", "Wait for this node only.", shown: "name")
  @Option(help: Self.node.help) var node: String?

  private static let count = Setting<Int>(
    "count", "Wait until this number of nodes is in sync.", shown: "number", in: 1...100_000)
  @Option(help: Self.count.help) var count: String?

  private static let timeout = Setting<Duration>(
    "timeout", "Maximum wait: 30s, 5m, or a number of seconds.", shown: "time", isRequired: true)
  @Option(help: Self.timeout.help) var timeout: String?

  func run() async throws {
    let settings = Settings()
    let nodes = try nodes(settings)
    let timeout = try settings.value(Self.timeout, given: timeout)
    try await access.run { fleet in
      let clock = ContinuousClock()
      let deadline = clock.now + timeout
      var wait = SyncWait(for: nodes)
      var missing: [SyncWait.Missing]?
      var trouble: String?
      while true {
        let limit = max(min(.seconds(2), deadline - clock.now), .milliseconds(100))
        do {
          // The queue doesn't matter here, and an unreachable Redis of the queue would only cost time.
          let facts = try await FleetFacts.read(
            from: fleet.keys, reports: fleet.reports, shards: [], namespace: fleet.namespace, within: limit)
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
          if trouble != "\(error)" { complain("waiting: unknown: \(error)") }
          trouble = "\(error)"
        }
        if clock.now >= deadline { break }
        try await clock.sleep(until: min(clock.now + .milliseconds(250), deadline))
      }
      guard let missing else {
        complain("unknown: Redis couldn't be read for \(Wording.time(timeout)): \(trouble ?? "no reason is known")")
        throw Outcome.cannotTell
      }
      complain("not in sync after \(Wording.time(timeout)):")
      for item in missing { complain(item.text) }
      if let trouble { complain("the last attempt to read Redis failed: \(trouble)") }
      throw Outcome.notInSync
    }
  }

  /// If either option is on the command line, both are ignored in the environment: --count overrules a machine's
  /// SLUICE_NODE.
  private func nodes(_ settings: Settings) throws -> SyncWait.Nodes {
    let settings = node == nil && count == nil ? settings : Settings(environment: [:])
    let name = try settings.optional(Self.node, given: node)
    let number = try settings.optional(Self.count, given: count)
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
