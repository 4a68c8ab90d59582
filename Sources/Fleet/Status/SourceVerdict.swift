// What operators are told of the source mark. The mark is in the store, so each problem is one sentence for all nodes.
// A stale mark keeps no node from being in sync: the node mirrors the store, and a new node would refuse as little. But
// no key is refused any more, and nobody knows what has changed in the source.

import KeyReplica

enum SourceVerdict {
  private static let remedy = "Start key-publisher follow, or see its log"

  /// One problem if the source mark permits no refusals; otherwise none.
  static func problems(_ store: StorePosition?, _ nodes: [Member<NodeReport>]) -> [FleetProblem] {
    // If Redis denies TIME to this command's user only, the nodes know the age.
    if let mark = store?.source, !mark.isWithinBound, mark.readAt != nil || mark.flaw != nil {
      let change = mark.maxAge == nil ? "" : ", or change the maximum age: key-publisher source --max-age"
      return [
        FleetProblem(
          .wrong, "unknown keys are answered 503, because the source mark \(flaw(of: mark)). \(remedy)\(change)")
      ]
    }
    let stale = nodes.filter { $0.isLive && $0.report.source?.stale == true }
    guard let first = stale.first, let source = first.report.source else { return [] }
    let names = Wording.list(stale.map(\.report.name), atMost: 3) + (stale.count == 1 ? " answers" : " answer")
    let age = source.ageSeconds.map { "is \(time(seconds: $0)) old" } ?? "is missing, or its age isn't known"
    let need =
      source.proveAgainst == .source
      ? ", and refusals have to be proven against the source (--prove-against source)" : ""
    return [
      FleetProblem(
        .wrong, member: stale.count == 1 ? first.report.name : nil,
        "\(names) 503 to unknown keys, because the source mark \(age)\(need). \(remedy)")
    ]
  }

  /// One problem if the store has lost the maximum age of its source mark, and nodes keep the last one that they knew.
  /// Other nodes refuse keys by a content of unknown age.
  /// - Parameter store: Read after the nodes' reports, so that a maximum age that was just set isn't missed.
  static func lostMaxAge(_ store: StorePosition?, _ nodes: [Member<NodeReport>]) -> [FleetProblem] {
    guard let mark = store?.source, mark.maxAge == nil, !mark.saysNoLimit, mark.flaw == nil else { return [] }
    let keeping = nodes.filter { $0.isLive && $0.report.source?.maxAgeSeconds != nil }
    guard let kept = keeping.compactMap({ $0.report.source?.maxAgeSeconds }).max() else { return [] }
    let names = Wording.list(keeping.map(\.report.name), atMost: 3) + (keeping.count == 1 ? " keeps" : " keep")
    return [
      FleetProblem(
        .wrong,
        "the store has lost the maximum age of its source mark (flushed? recreated?). \(names) \(time(seconds: kept)) "
          + "in force, other nodes have none. Set it again: key-publisher source --max-age, with a time or none")
    ]
  }

  /// Whether a node's only reason for refusing nobody is the source mark.
  static func blocks(_ report: NodeReport) -> Bool { report.source?.stale == true }

  private static func flaw(of mark: SourceMark) -> String {
    if let flaw = mark.flaw { return "can't be read (\(Wording.printable(flaw)))" }
    let most =
      mark.maxAge.map { "the maximum age is \(time(seconds: $0.fractionalSeconds))" } ?? "there is no maximum age"
    if let age = mark.age { return "is \(time(seconds: age.fractionalSeconds)) old; \(most)" }
    return mark.moment == nil ? "is missing; \(most)" : "is in the future: Redis's clock was set back"
  }

  /// To the second for some minutes: 75 s isn't 60 s.
  private static func time(seconds: Double) -> String {
    (60..<600).contains(seconds) ? "\(Int(seconds)) s" : Wording.time(seconds: seconds)
  }

  /// The mark as one line of text; nil if the store has neither a mark nor a maximum age.
  static func line(_ mark: SourceMark) -> String? {
    if mark.flaw != nil { return "source mark: unreadable" }
    guard mark.moment != nil || mark.maxAge != nil else { return nil }
    let most = mark.maxAge.map { ", maximum age \(time(seconds: $0.fractionalSeconds))" } ?? ""
    if let age = mark.age { return "equal to the source as of \(time(seconds: age.fractionalSeconds)) ago\(most)" }
    return (mark.moment == nil ? "no source mark" : "source mark of unknown age") + most
  }
}
