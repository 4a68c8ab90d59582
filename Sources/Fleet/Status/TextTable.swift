// Aligned columns. Widths are computed from the plain text. Colours are added afterwards, so they don't count.

/// A table of text with a line of headings.
struct TextTable {
  struct Cell {
    var text: String
    var colour: Colour?

    init(_ text: String, _ colour: Colour? = nil) {
      self.text = Wording.printable(text)
      self.colour = colour
    }
  }

  enum Alignment {
    case left
    case right
  }

  private let headings: [(title: String, alignment: Alignment)]
  private var rows: [[Cell]] = []

  init(_ headings: [(String, Alignment)]) { self.headings = headings.map { (title: $0.0, alignment: $0.1) } }

  /// - Parameter cells: As many as there are headings.
  mutating func add(_ cells: [Cell]) {
    precondition(cells.count == headings.count, "a row has a cell for each heading")
    rows.append(cells)
  }

  /// The lines, without spaces at their ends.
  func lines(indent: String, colours: Bool) -> [String] {
    let all = [headings.map { Cell($0.title, .faint) }] + rows
    let widths = headings.indices.map { column in all.map { $0[column].text.count }.max() ?? 0 }
    return all.map { row in
      var line = indent
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.text.count)
        let text = colours ? cell.colour?.around(cell.text) ?? cell.text : cell.text
        switch headings[column].alignment {
        case .right: line += padding + text
        case .left: line += column == headings.count - 1 ? text : text + padding
        }
        if column < headings.count - 1 { line += "  " }
      }
      return line
    }
  }
}

/// The few colours in use, named by their meaning.
enum Colour {
  case good
  case bad
  case doubtful
  case faint

  func around(_ text: String) -> String {
    guard !text.isEmpty else { return text }
    let code =
      switch self {
      case .good: "32"
      case .bad: "1;31"
      case .doubtful: "33"
      case .faint: "2"
      }
    return "\u{1B}[\(code)m\(text)\u{1B}[0m"
  }
}
