// The totals of many runs. Schedules in which nothing is decided would prove nothing, so decisions are counted and
// shown.

import KeyReplica

public struct SimulationTotal: Sendable {
  public private(set) var runs = 0
  public private(set) var steps = 0
  public private(set) var refusals = 0
  public private(set) var admissions = 0
  public private(set) var undecided = 0
  public private(set) var storms = 0
  public private(set) var sourceProofs = 0
  public private(set) var sourceStale = 0
  public private(set) var listsApplied = 0
  public private(set) var listsStopped = 0
  public private(set) var restarts = 0
  public private(set) var slowestConvergence = Duration.zero
  public private(set) var busiestSecond = 0
  public private(set) var faults: [String: Int] = [:]

  public init() {}

  public mutating func add(_ run: Simulation.Summary) {
    runs += 1
    steps += run.steps
    refusals += run.refusals
    admissions += run.admissions
    undecided += run.undecided
    storms += run.storms
    sourceProofs += run.sourceProofs
    sourceStale += run.sourceStale
    listsApplied += run.listsApplied
    listsStopped += run.listsStopped
    restarts += run.restarts
    slowestConvergence = max(slowestConvergence, run.convergence ?? .zero)
    busiestSecond = max(busiestSecond, run.busiestSecond)
    faults.merge(run.faults, uniquingKeysWith: +)
  }

  /// The kinds of faults that never occurred.
  public var missingFaults: [FaultKind] { FaultKind.allCases.filter { faults[$0.rawValue] == nil } }

  public func description(took: Duration) -> String {
    let rate = Int(Double(runs) / max(took.fractionalSeconds, 1e-9))
    let faults = faults.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
    return """
      \(runs) schedules held: \(steps) steps, \(rate) schedules a second
      \(refusals) refusals (\(sourceProofs) proven against the source), \(admissions) admissions, \(undecided) undecided
      (\(storms) in refusal storms, \(sourceStale) for a stale source mark), \(restarts) restarts of nodes
      \(listsApplied) truncated or stale lists applied, \(listsStopped) stopped
      slowest convergence \(slowestConvergence.fractionalSeconds) s, busiest second \(busiestSecond) commands of a node
      faults: \(faults)
      """
  }
}
