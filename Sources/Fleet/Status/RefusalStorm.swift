// The problem that sync-status shows when nodes answer unknown keys 503 because most keys are unknown. There is one
// sentence for all nodes, because the nodes share one store that may lack keys, and an operator confirms one number.

import KeyReplica

enum RefusalStorm {
  /// One problem if any live node has a refusal storm; otherwise none.
  static func problems(_ nodes: [Member<NodeReport>]) -> [FleetProblem] {
    var storms: [(name: String, keys: NodeReport.RecentKeys)] = []
    for node in nodes where node.isLive {
      if let keys = node.report.recentKeys, keys.storm { storms.append((node.report.name, keys)) }
    }
    guard let worst = storms.max(by: { $0.keys.unknown < $1.keys.unknown }) else { return [] }
    let isOne = storms.count == 1
    let names = Wording.list(storms.map(\.name), atMost: 3) + (isOne ? " answers" : " answer")
    let unknown = Wording.number(worst.keys.unknown, "distinct unknown key")
    let admitted = Wording.count(worst.keys.admitted)
    let confirmed = min(worst.keys.unknown, RecentKeyCounts.confirmedLimit)
    return [
      FleetProblem(
        .wrong, member: isOne ? worst.name : nil,
        "\(names) 503 to unknown keys: clients recently sent \(isOne ? "" : "\(worst.name) ")\(unknown) and "
          + "\(admitted) active ones. If the store lacks keys, import them. If these keys should be refused: "
          + "key-publisher confirm-unknown \(confirmed)")
    ]
  }
}
