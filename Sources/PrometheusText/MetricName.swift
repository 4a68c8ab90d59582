// Names in Prometheus's form. Our code and libraries may use names such as `http.server.request-duration`.

enum MetricName {
  /// `[a-zA-Z_:][a-zA-Z0-9_:]*`, with `_` for all other characters.
  static func sanitised(_ name: String) -> String { sanitised(name, colons: true) }

  fileprivate static func sanitised(_ name: String, colons: Bool) -> String {
    var result = ""
    for character in name.prefix(200) {
      let allowed = character.isASCII && (character.isLetter || character.isNumber || character == "_")
      if result.isEmpty, character.isNumber { result = "_" }
      result.append(allowed || (colons && character == ":") ? character : "_")
    }
    return result.isEmpty ? "_" : result
  }
}

/// One label of a series.
struct MetricLabel: Hashable, Sendable, Comparable {
  let name: String
  let value: String

  /// - Parameters:
  ///   - name: Must match `[a-zA-Z_][a-zA-Z0-9_]*`.
  ///   - value: Any text.
  init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }

  static func < (left: MetricLabel, right: MetricLabel) -> Bool {
    (left.name, left.value) < (right.name, right.value)
  }

  /// The labels of a series in a fixed order, because the order is part of its identity: sorted by name, each name once
  /// (the first one counts), values cut to 256 Unicode scalars.
  static func sanitised(_ dimensions: [(String, String)]) -> [MetricLabel] {
    var seen: Set<String> = []
    var labels: [MetricLabel] = []
    for (name, value) in dimensions {
      var name = MetricName.sanitised(name, colons: false)
      // Names that begin with two underscores are reserved for Prometheus; `le` and `quantile` are reserved by the
      // format.
      while name.hasPrefix("__") { name.removeFirst() }
      if name == "le" || name == "quantile" { name = "exported_\(name)" }
      // By scalars: one character may be of any length. A carriage return is allowed, but a reader that splits at any
      // line end would misread it.
      let value = String(
        String.UnicodeScalarView(value.unicodeScalars.prefix(256).map { $0 == "\r" ? " " : $0 }))
      if seen.insert(name).inserted { labels.append(MetricLabel(name, value)) }
    }
    return labels.sorted()
  }
}
