// The queue on one page, for people: the problems, then each shard, and its lists and claims that aren't empty.

import IngestQueue
import KeyReplica

/// Formats the queue's facts and the verdict on them.
public struct QueueTable: Sendable {
  private let facts: QueueFacts
  private let verdict: QueueVerdict
  private let colours: Bool

  /// Maximum rows of a table that can have very many.
  private static let mostRows = 40

  public init(_ facts: QueueFacts, _ verdict: QueueVerdict, colours: Bool) {
    self.facts = facts
    self.verdict = verdict
    self.colours = colours
  }

  /// The page, with a line end after each line.
  public func render() -> String {
    var lines = [headline]
    for text in verdict.unknown { lines.append(coloured("  unknown: ", .bad) + Wording.printable(text)) }
    for text in verdict.wrong { lines.append(coloured("  wrong: ", .bad) + Wording.printable(text)) }
    lines += ["", "SHARDS"] + shards
    lines += ["", "LISTS"] + lists
    lines += ["", "CLAIMS"] + claims
    lines += ["", "WORKERS"] + workers
    lines += ["", "DEAD LETTERS"] + deadLetters
    return lines.map { $0 + "\n" }.joined()
  }

  private var headline: String {
    let states = facts.surveys.map(\.survey)
    func sum(_ figure: (QueueSurvey) -> Int64) -> String { Wording.count(states.reduce(0) { $0 + figure($1) }) }
    let figures =
      "\(sum { $0.state.pending }) waiting, \(sum { $0.state.claimed }) claimed, \(sum { $0.state.later }) to be tried again, "
      + "\(Wording.number(states.reduce(0) { $0 + $1.state.dead }, "dead letter"))"
    return switch verdict.exitCode {
    case 0: coloured("FLOWING", .good) + ": \(figures)"
    case 1: coloured("PROBLEMS", .bad) + ": \(figures)"
    default: coloured("PARTLY UNKNOWN", .bad) + ": \(figures)"
    }
  }

  private func coloured(_ text: String, _ colour: Colour) -> String { colours ? colour.around(text) : text }

  private func age(_ since: Int64?, at now: Int64) -> TextTable.Cell {
    .init(since.map { Wording.time(seconds: Double(now - $0) / 1_000) } ?? "-")
  }

  private var shards: [String] {
    var table = TextTable([
      ("SHARD", .right), ("WAITING", .right), ("OLDEST", .right), ("CLAIMED", .right), ("LATER", .right),
      ("NEXT DUE", .right), ("DEAD", .right), ("DONE", .right), ("REQUEUED", .right), ("DISCARDED", .right),
      ("REDIS", .left),
    ])
    for reading in facts.shards {
      guard let survey = reading.survey.value else {
        table.add(
          [.init("\(reading.shard)")] + Array(repeating: .init("?", .bad), count: 9) + [.init(reading.place)])
        continue
      }
      let now = survey.state.readAt
      let due = survey.nextDueAt.map { $0 <= now ? "now" : "in \(Wording.time(seconds: Double($0 - now) / 1_000))" }
      table.add([
        .init("\(reading.shard)"), .init(Wording.count(survey.state.pending)),
        age(survey.oldestReceivedAt, at: facts.nodesTime(of: survey)),
        .init(Wording.count(survey.state.claimed)), .init(Wording.count(survey.state.later)), .init(due ?? "-"),
        .init(Wording.count(survey.state.dead), survey.state.dead > 0 ? .doubtful : nil),
        .init(Wording.count(survey.state.done)), .init(Wording.count(survey.requeued)),
        .init(Wording.count(survey.discarded)), .init(reading.place),
      ])
    }
    return table.lines(indent: "  ", colours: colours)
  }

  private var lists: [String] {
    let rows = facts.surveys.flatMap { shard, survey in
      survey.lists.filter { $0.envelopes > 0 }.map { list in
        [
          TextTable.Cell("\(shard)"), .init("\(list.number)"), .init(Wording.count(list.envelopes)),
          age(list.oldestReceivedAt, at: facts.nodesTime(of: survey)),
        ]
      }
    }
    return lines([("SHARD", .right), ("LIST", .right), ("WAITING", .right), ("OLDEST", .right)], rows)
  }

  private var claims: [String] {
    let rows = facts.surveys.flatMap { shard, survey in
      survey.state.claims.map { claim in
        let left = Double(claim.leaseUntil - survey.state.readAt) / 1_000
        return [
          TextTable.Cell("\(shard)"), .init(claim.worker), .init("\(claim.slot)"),
          .init(Wording.count(claim.envelopes)),
          left > 0 ? .init(Wording.time(seconds: left)) : .init("ended", .bad),
          age(claim.claimedAt > 0 ? claim.claimedAt : nil, at: survey.state.readAt),
        ]
      }
    }
    return lines(
      [
        ("SHARD", .right), ("WORKER", .left), ("SLOT", .right), ("PAYLOADS", .right), ("LEASE LEFT", .right),
        ("HELD", .right),
      ], rows)
  }

  private var workers: [String] {
    guard let fleet = facts.fleet.value else { return ["  not known"] }
    let rows = fleet.workers.filter { !$0.stopped }.map { worker in
      let seen = facts.surveys.compactMap { _, survey in
        survey.state.workers.first { $0.name == worker.report.name }.map {
          Double(survey.state.readAt - $0.seenAt) / 1_000
        }
      }
      return [
        TextTable.Cell(worker.report.name),
        worker.isSilent
          ? .init("silent", .bad)
          : .init(worker.report.state.rawValue, worker.report.state == .trouble ? .doubtful : .good),
        .init(Wording.rate(worker.report.perSecond)), .init(Wording.count(worker.report.inHand)),
        .init("\(seen.count) of \(facts.shards.count)"), .init(seen.min().map { Wording.ago(seconds: $0) } ?? "never"),
        .init(worker.reported),
      ]
    }
    return lines(
      [
        ("NAME", .left), ("STATE", .left), ("PER SECOND", .right), ("CLAIMED", .right), ("SHARDS", .right),
        ("LOOKED", .right), ("REPORTED", .right),
      ], rows)
  }

  private var deadLetters: [String] {
    var rows: [[TextTable.Cell]] = []
    var uncounted: Int64 = 0
    for (shard, survey) in facts.surveys {
      for (reason, count) in survey.reasons.sorted {
        rows.append([.init("\(shard)"), .init(Wording.count(count)), .init(String(reason.prefix(200)))])
      }
      if survey.reasons.others > 0 {
        rows.append([
          .init("\(shard)"), .init(Wording.count(survey.reasons.others)), .init("(further reasons)", .faint),
        ])
      }
      uncounted += max(survey.state.dead - Int64(survey.reasons.total), 0)
    }
    let note = uncounted > 0 ? ["  and \(Wording.count(uncounted)) older ones, whose reasons weren't counted"] : []
    return lines([("SHARD", .right), ("COUNT", .right), ("REASON", .left)], rows) + note
  }

  private func lines(_ headings: [(String, TextTable.Alignment)], _ rows: [[TextTable.Cell]]) -> [String] {
    guard !rows.isEmpty else { return ["  none"] }
    var table = TextTable(headings)
    for row in rows.prefix(Self.mostRows) { table.add(row) }
    let hidden = rows.count - Self.mostRows
    return table.lines(indent: "  ", colours: colours) + (hidden > 0 ? ["  and \(Wording.count(hidden)) more"] : [])
  }
}
