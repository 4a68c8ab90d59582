// The condition of `sync-status wait`, as a pure function of each reading of the fleet.
//
// "In sync" alone would accept a node that was level with the store some seconds ago. An operator who provisions a
// machine may have just written something, and wants the node to have it. So the store's version is recorded at the
// first reading, and a node counts only when it has followed everything up to that version.

import KeyReplica

/// A wait for nodes to be in sync with the store at the version of the first reading, or later.
public struct SyncWait: Sendable {
  public enum Nodes: Sendable, Equatable {
    /// Every node that hasn't ended in good order, and at least one.
    case all
    case named(String)
    /// This number of nodes, any of them.
    case atLeast(Int)
  }

  /// A missing condition.
  public struct Missing: Sendable, Equatable {
    public var text: String
    fileprivate var key: Key

    fileprivate enum Key: Sendable, Equatable {
      case lack(String, SyncBlocker)
      case other(String)
    }
  }

  private let nodes: Nodes
  private var target: (epoch: String, version: UInt64)?
  private var announced: [Missing]?

  public init(for nodes: Nodes) { self.nodes = nodes }

  /// Evaluates one reading of the fleet.
  /// - Returns: The missing conditions; none when the wait is over.
  public mutating func look(at facts: FleetFacts) -> [Missing] {
    let verdict = FleetVerdict(facts)
    var missing = verdict.problems.filter { $0.severity == .outOfSync && $0.member == nil }.map { Self.other($0.text) }
    guard let store = facts.store else { return missing }
    // Versions are comparable only within one epoch.
    if target == nil || target?.epoch != store.epoch { target = (store.epoch, store.version) }
    let wanted = target?.version ?? store.version

    // The verdict has the nodes in the reading's order.
    let looks = zip(verdict.nodes, facts.fleet.nodes).map { judgement, node in
      (name: judgement.name, stopped: judgement.stopped, missing: Self.missing(judgement, node.report, wanted))
    }
    let storeIsSound = store.sealed
    switch nodes {
    case .all:
      for node in looks where !node.stopped { missing += node.missing }
      missing += Self.unseen(facts)
    case .named(let name):
      if storeIsSound { missing = [] }  // "no node has reported" has a better text below.
      if let node = looks.first(where: { $0.name == name }) {
        missing += node.stopped ? [Self.other("\(name) has ended")] : node.missing
      } else if let node = facts.fleet.unreadable.first(where: { $0.kind == .node && $0.name == name }) {
        missing.append(Self.other("the report of \(name) can't be read (another Sluice version?): \(node.reason)"))
      } else if facts.fleet.turnedAway.contains(MemberID(.node, name)) {
        missing.append(Self.other(facts.fleet.notRegistered(MemberID(.node, name))))
      } else {
        missing.append(Self.other("no node called \(name) has reported"))
      }
    case .atLeast(let count):
      if storeIsSound { missing = [] }
      let done = looks.count { !$0.stopped && $0.missing.isEmpty }
      if done < count || !storeIsSound {
        missing.append(Self.other("\(done) of \(Wording.number(count, "node")) in sync"))
        for node in looks where !node.stopped { missing += node.missing }
        missing += Self.unseen(facts)
      }
    }
    return missing
  }

  /// The lines to print for the missing conditions: all of them if one is new, else none. A time that counts up isn't
  /// new.
  public mutating func news(in missing: [Missing]) -> [String] {
    let isNews =
      if let announced, announced.count == missing.count {
        zip(announced, missing).contains { old, new in
          switch (old.key, new.key) {
          case (.lack(let before, let old), .lack(let now, let new)): before != now || new.isNews(after: old)
          default: old.key != new.key
          }
        }
      } else {
        true
      }
    guard isNews else { return [] }
    announced = missing
    return missing.map(\.text)
  }

  private static func other(_ text: String) -> Missing { Missing(text: text, key: .other(text)) }

  private static func lack(_ name: String, _ lack: SyncBlocker) -> Missing {
    Missing(text: "\(name) \(lack.words)", key: .lack(name, lack))
  }

  private static func missing(_ judgement: NodeJudgement, _ report: NodeReport, _ wanted: UInt64) -> [Missing] {
    if judgement.lacks.isEmpty, report.version < wanted {
      return [lack(judgement.name, .behind(version: report.version, store: wanted))]
    }
    return judgement.lacks.map { lack(judgement.name, $0) }
  }

  /// Nodes without a readable report, with their names.
  private static func unseen(_ facts: FleetFacts) -> [Missing] {
    facts.fleet.unreadable.filter { $0.kind == .node }.map {
      other("the report of \($0.name) can't be read (another Sluice version?): \($0.reason)")
    } + facts.fleet.turnedAway.filter { $0.kind == .node }.map { other(facts.fleet.notRegistered($0)) }
  }
}
