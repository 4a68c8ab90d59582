// What may be spent at most: a line for each piece, with what was measured last and by how many percent that may be exceeded. A file of
// text in the repository, so that whoever makes something dearer says so in the same commit. One for each kind of processor, since
// another has other instructions.

import Foundation

/// The thresholds in one file.
struct InstructionThresholds {
  struct Row {
    var name: String
    /// Instructions for one.
    var measured: Int
    /// What else is allowed, in percent of it.
    var excess: Int

    var allowed: Int { measured + measured * excess / 100 }
  }

  /// What a new row is given: the figures of two runs differ by one at most.
  static let usualExcess = 5

  private(set) var rows: [Row] = []

  static let words = """
    # Instructions for each, as Scripts/instructions measured them last, and by how many percent they may be exceeded.
    # `Scripts/instructions --update` writes what it measures; the percents are yours to change.
    """

  init() {}

  init(_ text: String, from file: String) throws {
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      if line.hasPrefix("#") || line.allSatisfy(\.isWhitespace) { continue }
      let words = line.split(separator: " ")
      guard words.count == 3, let measured = Int(words[1]), measured > 0, let excess = Int(words[2]), excess >= 0
      else {
        throw CannotMeasure("\(file), line \(index + 1): expected a name, instructions and percent, but it is: \(line)")
      }
      rows.append(Row(name: String(words[0]), measured: measured, excess: excess))
    }
  }

  subscript(name: String) -> Row? { rows.first { $0.name == name } }

  /// Takes what was measured as what is usual from now on.
  mutating func update(_ name: String, to measured: Int) {
    if let index = rows.firstIndex(where: { $0.name == name }) {
      rows[index].measured = measured
    } else {
      rows.append(Row(name: name, measured: measured, excess: Self.usualExcess))
    }
  }

  var text: String {
    Self.words + "\n" + rows.map { "\($0.name) \($0.measured) \($0.excess)\n" }.joined()
  }
}
