// The queue as one JSON document, for programs. As with the fleet's, names are promised: fields may be added, none is renamed or removed, and
// what isn't known is null.

import Foundation
import IngestQueue
import KeyReplica

/// What `sync-status queue --json` prints. Times are Unix seconds by Redis's clock, those of receipt by a node's.
public struct QueueDocument: Sendable, Encodable {
  private let facts: QueueFacts
  private let verdict: QueueVerdict

  public init(_ facts: QueueFacts, _ verdict: QueueVerdict) {
    self.facts = facts
    self.verdict = verdict
  }

  /// An indented text with sorted keys and a line end.
  /// - Throws: `EncodingError` where a worker's report has a number that isn't finite.
  public func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
  }

  private enum Key: String, CodingKey {
    case verdict, unknown, wrong, shards, workers, shard, redis, error, waiting, lists, list, later, claims, worker,
      slot
    case payloads, dead, done, requeued, discarded, reasons, reason, count, name, state, failing
    case exitCode = "exit_code"
    case readAt = "read_at"
    case oldestReceivedAt = "oldest_received_at"
    case nextDueAt = "next_due_at"
    case leaseUntil = "lease_until"
    case claimedAt = "claimed_at"
    case perSecond = "per_second"
    case inHand = "in_hand"
    case reportedSecondsAgo = "reported_seconds_ago"
    case seenAt = "seen_at"
    case reasonsUncounted = "reasons_uncounted"
    case deadBytes = "dead_bytes"
  }

  private typealias Container = KeyedEncodingContainer<Key>

  public func encode(to encoder: any Encoder) throws {
    var top = encoder.container(keyedBy: Key.self)
    let words = verdict.exitCode == 0 ? "flowing" : verdict.exitCode == 1 ? "not_well" : "unknown"
    try top.encode(words, forKey: .verdict)
    try top.encode(verdict.exitCode, forKey: .exitCode)
    try top.encode(verdict.unknown, forKey: .unknown)
    try top.encode(verdict.wrong, forKey: .wrong)
    var shards = top.nestedUnkeyedContainer(forKey: .shards)
    for reading in facts.shards {
      var container = shards.nestedContainer(keyedBy: Key.self)
      try container.encode(reading.shard, forKey: .shard)
      try container.encode(reading.place, forKey: .redis)
      switch reading.survey {
      case .unreadable(let why): try container.encode(why, forKey: .error)
      case .known(let survey):
        try container.encodeNil(forKey: .error)
        try Self.encode(survey, to: &container)
      }
    }
    guard let fleet = facts.fleet.value else { return try top.encodeNil(forKey: .workers) }
    var workers = top.nestedUnkeyedContainer(forKey: .workers)
    for worker in fleet.workers where !worker.stopped {
      var container = workers.nestedContainer(keyedBy: Key.self)
      try container.encode(worker.report.name, forKey: .name)
      try container.encode(worker.report.state, forKey: .state)
      try container.encode(worker.report.perSecond, forKey: .perSecond)
      try container.encode(worker.report.inHand, forKey: .inHand)
      try container.encode(worker.isUndated ? nil : worker.age.fractionalSeconds, forKey: .reportedSecondsAgo)
    }
  }

  private static func encode(_ survey: QueueSurvey, to container: inout Container) throws {
    let state = survey.state
    try container.encode(seconds(state.readAt), forKey: .readAt)
    try container.encode(survey.state.pending, forKey: .waiting)
    try container.encode(survey.oldestReceivedAt.map(seconds), forKey: .oldestReceivedAt)
    try container.encode(state.later, forKey: .later)
    try container.encode(survey.nextDueAt.map(seconds), forKey: .nextDueAt)
    try container.encode(state.failing, forKey: .failing)
    try container.encode(state.dead, forKey: .dead)
    try container.encode(survey.deadBytes.all, forKey: .deadBytes)
    try container.encode(survey.state.done, forKey: .done)
    try container.encode(survey.requeued, forKey: .requeued)
    try container.encode(survey.discarded, forKey: .discarded)
    try container.encode(max(state.dead - Int64(survey.reasons.total), 0), forKey: .reasonsUncounted)
    var lists = container.nestedUnkeyedContainer(forKey: .lists)
    for list in survey.lists {
      var item = lists.nestedContainer(keyedBy: Key.self)
      try item.encode(list.number, forKey: .list)
      try item.encode(list.envelopes, forKey: .waiting)
      try item.encode(list.oldestReceivedAt.map(seconds), forKey: .oldestReceivedAt)
    }
    var claims = container.nestedUnkeyedContainer(forKey: .claims)
    for claim in state.claims {
      var item = claims.nestedContainer(keyedBy: Key.self)
      try item.encode(claim.worker, forKey: .worker)
      try item.encode(claim.slot, forKey: .slot)
      try item.encode(claim.envelopes, forKey: .payloads)
      try item.encode(seconds(claim.leaseUntil), forKey: .leaseUntil)
      try item.encode(seconds(claim.claimedAt), forKey: .claimedAt)
    }
    var workers = container.nestedUnkeyedContainer(forKey: .workers)
    for worker in state.workers {
      var item = workers.nestedContainer(keyedBy: Key.self)
      try item.encode(worker.name, forKey: .name)
      try item.encode(seconds(worker.seenAt), forKey: .seenAt)
    }
    var reasons = container.nestedUnkeyedContainer(forKey: .reasons)
    func add(_ reason: String?, _ count: Int) throws {
      var item = reasons.nestedContainer(keyedBy: Key.self)
      try item.encode(reason, forKey: .reason)
      try item.encode(count, forKey: .count)
    }
    for (reason, count) in survey.reasons.sorted { try add(reason, count) }
    if survey.reasons.others > 0 { try add(nil, survey.reasons.others) }
  }

  private static func seconds(_ milliseconds: Int64) -> Double { Double(milliseconds) / 1_000 }
}
