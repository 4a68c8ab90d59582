// What a figure is to reach, beside what it was. Most are ratios, since only those say the same on two machines: each is that
// of one round, so that both of its halves were measured within seconds of each other. One that is missed is shown, and fails
// nothing: whether a machine was busy is no fault of the sources.

/// A figure, with the most or the least that it may be.
struct Goal: Encodable {
  enum Bound: Encodable, CustomStringConvertible {
    case atMost(Double)
    case atLeast(Double)

    func isMet(by value: Double) -> Bool {
      switch self {
      case .atMost(let bound): value <= bound
      case .atLeast(let bound): value >= bound
      }
    }

    private enum CodingKeys: CodingKey {
      case atMost, atLeast
    }

    /// As `{"atMost": 0.5}`.
    func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: CodingKeys.self)
      switch self {
      case .atMost(let bound): try fields.encode(bound, forKey: .atMost)
      case .atLeast(let bound): try fields.encode(bound, forKey: .atLeast)
      }
    }

    var description: String {
      switch self {
      case .atMost(let bound): "at most \(Figure([bound]))"
      case .atLeast(let bound): "at least \(Figure([bound]))"
      }
    }
  }

  var name: String
  var unit: String
  var figure: Figure
  var bound: Bound
  /// By the median of the rounds.
  var isReached: Bool

  init(_ name: String, _ rounds: [Double], unit: String = "times", _ bound: Bound) {
    self.name = name
    self.unit = unit
    self.bound = bound
    figure = Figure(rounds)
    isReached = bound.isMet(by: figure.median)
  }

  init(_ name: String, _ rounds: [Double], unit: String = "times", atMost: Double) {
    self.init(name, rounds, unit: unit, .atMost(atMost))
  }

  /// One of each round to the other of it.
  init(_ name: String, _ ours: [Double], to theirs: [Double], atMost: Double) {
    self.init(name, ours.ratios(to: theirs), .atMost(atMost))
  }

  static func table(_ goals: [Goal]) -> [String] {
    guard !goals.isEmpty else { return [] }
    return ["| goal | measured | aim | |", "|---|---:|---:|---|"]
      + goals.map { goal in
        "| \(goal.name) | \(goal.figure) \(goal.unit) | \(goal.bound) | \(goal.isReached ? "reached" : "**missed**") |"
      } + [""]
  }
}

extension [Double] {
  /// Each round's value to the same round's of something else.
  func ratios(to others: [Double]) -> [Double] {
    precondition(count == others.count, "\(count) rounds beside \(others.count)")
    return zip(self, others).map { $0 / $1 }
  }
}
