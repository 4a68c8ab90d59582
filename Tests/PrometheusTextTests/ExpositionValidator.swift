// A strict reader of Prometheus's text format 0.0.4, written from its documentation and sharing nothing with the renderer:
// what it accepts is narrower than what Prometheus takes.

/// One line of figures.
struct Sample: Equatable {
  let name: String
  let labels: [String: String]
  let value: Double
}

struct InvalidExposition: Error, CustomStringConvertible {
  let line: Int
  let reason: String
  var description: String { "line \(line): \(reason)" }
}

struct Exposed {
  var types: [String: String] = [:]
  var help: [String: String] = [:]
  var samples: [Sample] = []

  /// The only sample with that name and those labels.
  func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
    let found = samples.filter { $0.name == name && $0.labels == labels }
    return found.count == 1 ? found[0].value : nil
  }

  /// - Throws: ``InvalidExposition`` at the first line that isn't valid.
  init(_ text: String) throws {
    if text.isEmpty { return }
    guard text.utf8.last == UInt8(ascii: "\n") else {
      throw InvalidExposition(line: 0, reason: "no line end at the end")
    }
    var family = ""
    var number = 0
    for line in text.utf8.dropLast().split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      number += 1
      func fail(_ reason: String) -> InvalidExposition { InvalidExposition(line: number, reason: reason) }
      guard let line = String(validating: line, as: UTF8.self) else { throw fail("not UTF-8") }
      if line.hasPrefix("#") {
        let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard words.count == 4, words[0] == "#" else { throw fail("a comment that is neither HELP nor TYPE") }
        guard Self.isMetricName(words[2]) else { throw fail("\(words[2]) is no name") }
        switch words[1] {
        case "HELP":
          guard help[words[2]] == nil, types[words[2]] == nil else { throw fail("HELP twice or after TYPE") }
          help[words[2]] = try Self.unescaped(words[3], quotes: false, fail)
        case "TYPE":
          guard types[words[2]] == nil else { throw fail("TYPE twice: a family in two places") }
          guard ["counter", "gauge", "histogram"].contains(words[3]) else { throw fail("type \(words[3])") }
          types[words[2]] = words[3]
        default: throw fail("a comment that is neither HELP nor TYPE")
        }
        family = words[2]
        continue
      }
      let sample = try Self.sample(line, fail)
      guard let type = types[family] else { throw fail("a sample before its TYPE") }
      let names = type == "histogram" ? ["_bucket", "_sum", "_count"].map { family + $0 } : [family]
      guard names.contains(sample.name) else { throw fail("\(sample.name) isn't of the family \(family)") }
      guard (sample.labels["le"] != nil) == sample.name.hasSuffix("_bucket") || type != "histogram" else {
        throw fail("le where it doesn't belong or missing")
      }
      guard !samples.contains(where: { $0.name == sample.name && $0.labels == sample.labels }) else {
        throw fail("the same series twice")
      }
      if type == "counter", !(sample.value >= 0) { throw fail("a counter of \(sample.value)") }
      samples.append(sample)
    }
    for (name, type) in types {
      guard samples.contains(where: { $0.name.hasPrefix(name) }) else {
        throw InvalidExposition(line: number, reason: "\(name) has no samples")
      }
      if type == "histogram" { try checkHistogram(name) }
    }
  }

  private func checkHistogram(_ name: String) throws {
    func fail(_ reason: String) -> InvalidExposition { InvalidExposition(line: 0, reason: "\(name): \(reason)") }
    let counts = samples.filter { $0.name == "\(name)_count" }
    guard !counts.isEmpty else { throw fail("no _count") }
    var buckets = 0
    for count in counts {
      guard value("\(name)_sum", count.labels) != nil else { throw fail("no _sum for \(count.labels)") }
      var last = (bound: -Double.infinity, value: 0.0)
      for bucket in samples where bucket.name == "\(name)_bucket" {
        var labels = bucket.labels
        let text = labels.removeValue(forKey: "le") ?? ""
        guard labels == count.labels else { continue }
        buckets += 1
        guard let bound = text == "+Inf" ? .infinity : Double(text) else { throw fail("le is \(text)") }
        guard bound > last.bound else { throw fail("bounds that don't ascend") }
        guard bucket.value >= last.value else { throw fail("buckets that don't add up") }
        last = (bound, bucket.value)
      }
      guard last.bound == .infinity else { throw fail("no +Inf") }
      guard last.value == count.value else { throw fail("_count isn't the last bucket") }
    }
    guard buckets == samples.count(where: { $0.name == "\(name)_bucket" }) else {
      throw fail("buckets without a _count")
    }
  }

  private static func sample(_ line: String, _ fail: (String) -> InvalidExposition) throws -> Sample {
    var rest = line.unicodeScalars[...]
    func take(while allowed: (Unicode.Scalar) -> Bool) -> String {
      let taken = rest.prefix(while: allowed)
      rest = rest.dropFirst(taken.count)
      return String(String.UnicodeScalarView(taken))
    }
    func take(_ scalar: Unicode.Scalar) -> Bool {
      guard rest.first == scalar else { return false }
      rest = rest.dropFirst()
      return true
    }
    let name = take { $0 != "{" && $0 != " " }
    guard isMetricName(name) else { throw fail("\(name) is no name") }
    var labels: [String: String] = [:]
    if take("{") {
      repeat {
        let label = take { $0 != "=" }
        guard isMetricName(label), !label.contains(":"), !label.hasPrefix("__") else {
          throw fail("\(label) is no label")
        }
        guard take("="), take("\"") else { throw fail("no value for \(label)") }
        var value = ""
        while let scalar = rest.first, scalar != "\"" {
          rest = rest.dropFirst()
          value.unicodeScalars.append(scalar)
          if scalar == "\\", let next = rest.first {
            rest = rest.dropFirst()
            value.unicodeScalars.append(next)
          }
        }
        guard take("\"") else { throw fail("no end of \(label)'s value") }
        guard labels.updateValue(try unescaped(value, quotes: true, fail), forKey: label) == nil else {
          throw fail("\(label) twice")
        }
      } while take(",")
      guard take("}") else { throw fail("no } after the labels") }
    }
    guard take(" ") else { throw fail("no space before the value") }
    let text = String(String.UnicodeScalarView(rest))
    switch text {
    case "NaN": return Sample(name: name, labels: labels, value: .nan)
    case "+Inf": return Sample(name: name, labels: labels, value: .infinity)
    case "-Inf": return Sample(name: name, labels: labels, value: -.infinity)
    default:
      guard text.allSatisfy({ $0.isASCII && ($0.isNumber || "+-.e".contains($0)) }), let value = Double(text) else {
        throw fail("\(text) is no number")
      }
      return Sample(name: name, labels: labels, value: value)
    }
  }

  private static func unescaped(
    _ text: String, quotes: Bool, _ fail: (String) -> InvalidExposition
  ) throws -> String {
    var result = ""
    var scalars = text.unicodeScalars.makeIterator()
    while let scalar = scalars.next() {
      guard scalar == "\\" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch scalars.next() {
      case "\\": result += "\\"
      case "n": result += "\n"
      case "\"" where quotes: result += "\""
      default: throw fail("an escape that isn't one")
      }
    }
    return result
  }

  private static func isMetricName(_ name: String) -> Bool {
    guard let first = name.unicodeScalars.first, !("0"..."9").contains(first) else { return false }
    return name.unicodeScalars.allSatisfy {
      ("a"..."z").contains($0) || ("A"..."Z").contains($0) || ("0"..."9").contains($0) || $0 == "_" || $0 == ":"
    }
  }
}
