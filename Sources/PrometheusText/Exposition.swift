// The rules of the text format: which characters are escaped, and how numbers are written.

enum Exposition {
  /// One line: `name{label="value"} number`.
  static func appendSample(
    to text: inout String, name: String, labels: [MetricLabel], bound: String? = nil, value: String
  ) {
    text += name
    if !labels.isEmpty || bound != nil {
      text += "{"
      var first = true
      for label in labels {
        if !first { text += "," }
        first = false
        text += "\(label.name)=\"\(escapedValue(label.value))\""
      }
      if let bound { text += "\(first ? "" : ",")le=\"\(bound)\"" }
      text += "}"
    }
    text += " \(value)\n"
  }

  static func escapedValue(_ value: String) -> String {
    escaped(value) { $0 == "\"" ? "\\\"" : nil }
  }

  static func escapedHelp(_ help: String) -> String {
    escaped(help) { _ in nil }
  }

  private static func escaped(_ text: String, _ also: (Unicode.Scalar) -> String?) -> String {
    var result = ""
    // By scalars: "\r\n" is one character in Swift and would be missed.
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      default: if let special = also(scalar) { result += special } else { result.unicodeScalars.append(scalar) }
      }
    }
    return result
  }

  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    // Integers are written without ".0", up to the largest that a Double represents exactly.
    if value == value.rounded(), abs(value) < 9_007_199_254_740_992 { return String(Int64(value)) }
    return String(value)
  }
}
