// The fleet as one JSON document, for programs. Its names are promised: fields may be added, none is renamed or removed, and
// what isn't known is null. The reports are in it as the members wrote them.

import Foundation
import IngestQueue
import KeyReplica

/// What `sync-status --json` prints.
public struct StatusDocument: Sendable, Encodable {
  private let facts: FleetFacts?
  private let verdict: FleetVerdict?
  private let error: String?

  public init(_ facts: FleetFacts, _ verdict: FleetVerdict) {
    self.facts = facts
    self.verdict = verdict
    error = nil
  }

  /// Of a fleet that can't be told.
  /// - Parameter reason: Why, in words.
  public init(unknown reason: String) {
    facts = nil
    verdict = nil
    error = reason
  }

  /// One line of JSON, or an indented text, with sorted keys and a line end.
  /// - Throws: `EncodingError` where a member's report has a number that isn't finite.
  public func json(pretty: Bool) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
      pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
  }

  private struct Key: CodingKey, ExpressibleByStringLiteral {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringLiteral value: String) { stringValue = value }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public func encode(to encoder: any Encoder) throws {
    var top = encoder.container(keyedBy: Key.self)
    guard let facts, let verdict else {
      try top.encode("unknown", forKey: "verdict")
      try top.encode(2, forKey: "exit_code")
      try top.encode(error, forKey: "error")
      return
    }
    try top.encode(
      !verdict.isInSync ? "not_in_sync" : verdict.isWell ? "in_sync" : "in_sync_not_well", forKey: "verdict")
    try top.encode(verdict.isWell ? 0 : 1, forKey: "exit_code")
    try top.encodeNil(forKey: "error")
    try top.encode(facts.fleet.readAt, forKey: "read_at")
    try top.encode(verdict.nodesInSync, forKey: "nodes_in_sync")
    try top.encode(verdict.nodesExpected, forKey: "nodes_expected")

    var problems = top.nestedUnkeyedContainer(forKey: "problems")
    for problem in verdict.problems {
      var container = problems.nestedContainer(keyedBy: Key.self)
      try container.encode(problem.severity, forKey: "severity")
      try container.encode(problem.member, forKey: "member")
      try container.encode(problem.text, forKey: "text")
    }

    if let store = facts.store {
      var container = top.nestedContainer(keyedBy: Key.self, forKey: "store")
      try container.encode(store.epoch, forKey: "epoch")
      try container.encode(store.version, forKey: "version")
      try container.encode(store.count, forKey: "keys")
      try container.encode("\(store.digest)", forKey: "digest")
      try container.encode(store.sealed, forKey: "sealed")
    } else {
      try top.encodeNil(forKey: "store")
    }

    var nodes = top.nestedUnkeyedContainer(forKey: "nodes")
    for (node, judgement) in zip(facts.fleet.nodes, verdict.nodes) {
      var container = nodes.nestedContainer(keyedBy: Key.self)
      let inSync = !node.stopped && judgement.lacks.isEmpty && facts.store?.sealed == true
      try container.encode(inSync, forKey: "in_sync")
      try container.encode(judgement.lacks.map(\.words), forKey: "lacks")
      try Self.encode(node, to: &container)
    }
    var workers = top.nestedUnkeyedContainer(forKey: "workers")
    for worker in facts.fleet.workers {
      var container = workers.nestedContainer(keyedBy: Key.self)
      try Self.encode(worker, to: &container)
    }
    var unreadable = top.nestedUnkeyedContainer(forKey: "unreadable")
    for member in facts.fleet.unreadable {
      var container = unreadable.nestedContainer(keyedBy: Key.self)
      try container.encode(member.kind, forKey: "kind")
      try container.encode(member.name, forKey: "name")
      try container.encode(member.reason, forKey: "reason")
    }

    var register = top.nestedContainer(keyedBy: Key.self, forKey: "register")
    try register.encode(facts.fleet.limit, forKey: "limit")
    try register.encode(facts.fleet.isFull, forKey: "full")
    var turnedAway = register.nestedUnkeyedContainer(forKey: "turned_away")
    for member in facts.fleet.turnedAway {
      var container = turnedAway.nestedContainer(keyedBy: Key.self)
      try container.encode(member.kind, forKey: "kind")
      try container.encode(member.name, forKey: "name")
    }

    if let queue = facts.queue {
      var container = top.nestedContainer(keyedBy: Key.self, forKey: "queue")
      try Self.encode(queue, to: &container)
      try container.encode(facts.shards.count { $0.queue.value == nil }, forKey: "shards_away")
    } else {
      try top.encodeNil(forKey: "queue")
    }
    var shards = top.nestedUnkeyedContainer(forKey: "queue_shards")
    for shard in facts.shards {
      var container = shards.nestedContainer(keyedBy: Key.self)
      try container.encode(shard.shard, forKey: "shard")
      try container.encode(shard.place, forKey: "redis")
      switch shard.queue {
      case .known(let queue):
        try container.encodeNil(forKey: "error")
        try Self.encode(queue, to: &container)
      case .unreadable(let why): try container.encode(why, forKey: "error")
      }
    }
    if let redis = facts.redis.value {
      var container = top.nestedContainer(keyedBy: Key.self, forKey: "redis")
      try container.encode(redis.program, forKey: "program")
      try container.encode(redis.version, forKey: "version")
      try container.encode(redis.role, forKey: "role")
      try container.encode(redis.usedBytes, forKey: "used_bytes")
      try container.encode(redis.limitBytes, forKey: "limit_bytes")
      try container.encode(redis.evictionPolicy, forKey: "eviction_policy")
      try container.encode(redis.appendsToFile, forKey: "append_only_file")
      try container.encode(redis.savingFails, forKey: "saving_fails")
      try container.encode(redis.server, forKey: "server")
    } else {
      try top.encodeNil(forKey: "redis")
    }
  }

  private static func encode(_ queue: QueueTotals, to container: inout KeyedEncodingContainer<Key>) throws {
    try container.encode(queue.pending, forKey: "pending")
    try container.encode(queue.later, forKey: "later")
    try container.encode(queue.claimed, forKey: "claimed")
    try container.encode(queue.dead, forKey: "dead")
    try container.encode(queue.deadBytes.all, forKey: "dead_bytes")
    try container.encode(queue.oldestSeconds, forKey: "oldest_seconds")
  }

  private static func encode<Report>(_ member: Member<Report>, to container: inout KeyedEncodingContainer<Key>) throws {
    try container.encode(member.isUndated ? nil : member.age.fractionalSeconds, forKey: "age_seconds")
    try container.encode(member.seenAt, forKey: "seen_at")
    try container.encode(member.stopped, forKey: "stopped")
    try container.encode(member.isLive, forKey: "live")
    try container.encode(member.report, forKey: "report")
  }
}
