// What nodes report of the store's losses: keys that vanished, and revocations that were undone. Each node sees the
// same store, so both are said once for the fleet, with the largest number.

enum LossVerdict {
  static func wrong(_ nodes: [Member<NodeReport>]) -> [FleetProblem] {
    let live = nodes.filter(\.isLive).map(\.report)
    var problems: [FleetProblem] = []
    let holding = live.filter { ($0.vanished ?? 0) > 0 }
    if let most = holding.compactMap(\.vanished).max() {
      problems.append(
        FleetProblem(
          .wrong,
          "\(Wording.number(most, "key")) vanished from the store without being revoked, and \(most == 1 ? "stays" : "stay") "
            + "admitted by \(Wording.list(holding.map(\.name), atMost: 3)): put them again (key-publisher import with your list); "
            + "or, if they are meant to be gone: key-publisher confirm"))
    }
    if let most = live.compactMap(\.revived).max(), most > 0 {
      problems.append(
        FleetProblem(
          .wrong,
          "the store lost changes (restored backup, failover): \(Wording.number(most, "suspended or revoked key")) "
            + "\(most == 1 ? "is" : "are") admitted again. Run key-publisher sync with your list; if \(most == 1 ? "it" : "they") "
            + "should be active: key-publisher confirm"))
    }
    return problems
  }
}
