// What a figure is to reach, beside what it was. Most are ratios, since only those say the same on two machines: each is that
// of one round, so that both of its halves were measured within seconds of each other.

/// A figure, with the most that it may be.
struct Goal: Encodable {
  var name: String
  var unit: String
  var figure: Figure
  var atMost: Double
  /// By the median of the rounds.
  var isReached: Bool

  init(_ name: String, _ rounds: [Double], unit: String = "times", atMost: Double) {
    self.name = name
    self.unit = unit
    self.atMost = atMost
    figure = Figure(rounds)
    isReached = figure.median <= atMost
  }

  /// One of each round to the other of it.
  init(_ name: String, _ ours: [Double], to theirs: [Double], atMost: Double) {
    precondition(ours.count == theirs.count, "\(name): \(ours.count) rounds beside \(theirs.count)")
    self.init(name, zip(ours, theirs).map { $0 / $1 }, atMost: atMost)
  }

  static func table(_ goals: [Goal]) -> [String] {
    guard !goals.isEmpty else { return [] }
    return ["| goal | measured | at most | |", "|---|---:|---:|---|"]
      + goals.map { goal in
        "| \(goal.name) | \(goal.figure) \(goal.unit) | \(Figure([goal.atMost])) | \(goal.isReached ? "reached" : "**missed**") |"
      } + [""]
  }
}
