// The fleet on one page, for people. Problems come first, as sentences; figures follow.

import KeyReplica

/// Formats the facts and the verdict.
public struct StatusTable: Sendable {
  private let facts: FleetFacts
  private let verdict: FleetVerdict
  private let place: String
  private let colours: Bool

  /// How long members that ended in good order are listed.
  private static let stoppedShown = Duration.seconds(600)

  /// - Parameters:
  ///   - place: The Redis and the namespace, without a password.
  ///   - colours: Whether to use a terminal's colours.
  public init(_ facts: FleetFacts, _ verdict: FleetVerdict, place: String, colours: Bool) {
    self.facts = facts
    self.verdict = verdict
    self.place = place
    self.colours = colours
  }

  /// The page, with a line end after each line.
  public func render() -> String {
    var lines = [headline]
    for problem in verdict.problems {
      let wrong = problem.severity != .note
      lines.append(
        coloured(wrong ? "  wrong: " : "  note:  ", wrong ? .bad : .doubtful) + Wording.printable(problem.text))
    }
    lines += section("STORE", store)
    lines += section("NODES", nodes)
    lines += section("WORKERS", workers)
    lines += section("QUEUE", queue)
    return lines.map { $0 + "\n" }.joined()
  }

  private var headline: String {
    let share = "\(Wording.count(verdict.nodesInSync)) of \(Wording.number(verdict.nodesExpected, "node"))"
    if !verdict.isInSync {
      let affectsAll = verdict.nodesInSync > 0 && verdict.nodesInSync >= verdict.nodesExpected
      return coloured("NOT IN SYNC", .bad) + ": "
        + (affectsAll ? "a problem below affects all nodes (\(share) mirror the store)" : "\(share) in sync")
    }
    return (verdict.isWell ? coloured("IN SYNC", .good) : coloured("IN SYNC, WITH PROBLEMS", .bad))
      + ": \(share) in sync"
  }

  private func coloured(_ text: String, _ colour: Colour) -> String { colours ? colour.around(text) : text }

  private func section(_ title: String, _ lines: [String]) -> [String] {
    ["", title] + lines
  }

  // MARK: Sections

  private var store: [String] {
    var lines: [String] = []
    if let store = facts.store {
      lines.append(
        "  \(Wording.printable(store.store.name ?? "unnamed")), ID \(Wording.printable(store.store.id))")
      lines.append(
        "  \(Wording.number(store.count, "key")) at version \(Wording.count(store.version)), "
          + "\(store.sealed ? "sealed" : "not sealed"), epoch \(Wording.printable(store.epoch))")
      if store.confirmedUnknown > 0 {
        lines.append(
          "  \(Wording.number(store.confirmedUnknown, "unknown key")) confirmed (key-publisher confirm-unknown)")
      }
      if let line = SourceVerdict.line(store.source) { lines.append("  \(line)") }
    } else {
      lines.append("  none")
    }
    lines.append("  in \(Wording.printable(place))")
    switch facts.redis {
    case .unreadable: lines.append("  Redis's settings aren't known")  // A note says why.
    case .known(let redis):
      let memory =
        redis.limitBytes == 0
        ? "\(Wording.bytes(redis.usedBytes)) used, no limit"
        : "\(Wording.bytes(redis.usedBytes)) of \(Wording.bytes(redis.limitBytes)) used"
      lines.append(
        Wording.printable(
          "  \(redis.program) \(redis.version)\(redis.server.map { " at \($0)" } ?? ""), \(memory), \(redis.evictionPolicy), "
            + "append-only file \(redis.appendsToFile ? "on" : "off")"))
    }
    return lines
  }

  private var nodes: [String] {
    guard !facts.fleet.nodes.isEmpty else { return ["  none"] }
    var table = TextTable([
      ("NAME", .left), ("STATE", .left), ("IN SYNC", .left), ("MIRROR", .left), ("KEYS", .right), ("VERSION", .right),
      ("STORE READ", .right), ("ACCEPTED", .right), ("REFUSED", .right), ("LIMITED", .right),
      ("UNAVAILABLE", .right), ("QUEUE", .left), ("REPORTED", .right), ("UP", .right), ("BUILD", .left),
    ])
    var hidden = 0
    for (node, judgement) in zip(facts.fleet.nodes, verdict.nodes) {
      guard !node.stopped || node.failure != nil || node.age <= Self.stoppedShown else {
        hidden += 1
        continue
      }
      let report = node.report
      let inSync = judgement.lacks.isEmpty && facts.store?.sealed == true
      let sync: TextTable.Cell = node.stopped ? .init("-") : inSync ? .init("yes", .good) : .init("no", .bad)
      table.add([
        .init(report.name), state(node, report.state.rawValue, good: report.ready), sync, mirror(report.completeness),
        .init(Wording.count(report.keys)), .init(Wording.count(report.version)),
        .init(report.freshnessSeconds.map { Wording.ago(seconds: $0 + node.age.fractionalSeconds) } ?? "never"),
        .init(Wording.count(report.outcomes.taken)), .init(Wording.count(report.outcomes.refused)),
        .init(Wording.count(report.outcomes.limited)), .init(Wording.count(report.outcomes.notTaken)),
        .init(report.queue.state.rawValue, report.queue.state == .away ? .doubtful : nil),
        reported(node), .init(up(node)), .init(report.build),
      ])
    }
    return table.lines(indent: "  ", colours: colours) + stopped(hidden) + durability
  }

  /// The queue durability that live nodes report, each that of its worst shard.
  private var durability: [String] {
    var nodesByDurability: [String: Int] = [:]
    for node in facts.fleet.nodes where node.isLive {
      nodesByDurability[node.report.queue.durability ?? "not known yet", default: 0] += 1
    }
    guard !nodesByDurability.isEmpty else { return [] }
    let texts = nodesByDurability.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.map { durability, nodes in
      Wording.printable(durability) + (nodesByDurability.count > 1 ? " (\(Wording.number(nodes, "node")))" : "")
    }
    return ["  queue durability: \(texts.joined(separator: "; "))"]
  }

  private var workers: [String] {
    guard !facts.fleet.workers.isEmpty else { return ["  none"] }
    var table = TextTable([
      ("NAME", .left), ("STATE", .left), ("STORED", .right), ("DUPLICATES", .right), ("RETRIED", .right),
      ("DEAD", .right), ("CLAIMED", .right), ("PER SECOND", .right), ("SINK", .left), ("REPORTED", .right),
      ("UP", .right), ("BUILD", .left),
    ])
    var hidden = 0
    for worker in facts.fleet.workers {
      guard !worker.stopped || worker.failure != nil || worker.age <= Self.stoppedShown else {
        hidden += 1
        continue
      }
      let report = worker.report
      table.add([
        .init(report.name), state(worker, report.state.rawValue, good: report.state != .trouble),
        .init(Wording.count(report.stored)), .init(Wording.count(report.duplicates)),
        .init(Wording.count(report.retried)), .init(Wording.count(report.dead), report.dead > 0 ? .doubtful : nil),
        .init(Wording.count(report.inHand)), .init(Wording.rate(report.perSecond)), .init(report.sink),
        reported(worker), .init(up(worker)), .init(report.build),
      ])
    }
    return table.lines(indent: "  ", colours: colours) + stopped(hidden)
  }

  private var queue: [String] {
    guard let queue = facts.queue else { return ["  not known"] }
    var lines = ["  " + Self.words(queue)]
    guard facts.shards.count > 1 else { return lines }
    let known = facts.shards.filter { $0.queue.value != nil }
    if known.count < facts.shards.count {
      lines.append("  in \(known.count) of \(facts.shards.count) shards; the others aren't known")
    }
    func pending(_ shard: ShardFacts) -> Int64 { shard.queue.value?.pending ?? 0 }
    if let fullest = known.max(by: { pending($0) < pending($1) }), let figures = fullest.queue.value,
      figures.pending > 0
    {
      lines.append(
        Wording.printable("  most in shard \(fullest.shard), in \(fullest.place): \(Self.words(figures))"))
    }
    return lines
  }

  private static func words(_ queue: QueueTotals) -> String {
    "\(Wording.count(queue.pending)) waiting"
      + (queue.oldestSeconds.map { " (the oldest for \(Wording.time(seconds: $0)))" } ?? "")
      + ", \(Wording.count(queue.claimed)) claimed, \(Wording.count(queue.later)) to be tried again, "
      + (queue.dead == 1 ? "1 dead letter" : "\(Wording.count(queue.dead)) dead letters")
  }

  // MARK: Cells

  private func state<Report>(_ member: Member<Report>, _ state: String, good: Bool) -> TextTable.Cell {
    if member.failure != nil { return .init("failed", .bad) }
    if member.stopped { return .init("stopped", .faint) }
    if member.isSilent { return .init("silent", .bad) }
    return .init(state.replacing("_", with: " "), good ? .good : .doubtful)
  }

  private func mirror(_ completeness: Completeness) -> TextTable.Cell {
    if completeness.state == .complete { return .init("complete", .good) }
    let share = "\(Wording.count(completeness.verified))/\(Wording.count(completeness.total))"
    return .init("\(completeness.state.rawValue) \(share)", .bad)
  }

  private func reported<Report>(_ member: Member<Report>) -> TextTable.Cell {
    let isSilent = !member.stopped && member.isSilent
    return .init(member.reported, isSilent ? .bad : nil)
  }

  /// Both times are by the member's own clock, so other clocks don't matter.
  private func up<Report>(_ member: Member<Report>) -> String {
    Wording.time(seconds: member.report.reportedAt - member.report.startedAt)
  }

  private func stopped(_ hidden: Int) -> [String] {
    hidden == 0 ? [] : ["  and \(Wording.count(hidden)) more that ended within the last day"]
  }
}
