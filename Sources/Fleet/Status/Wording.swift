// Numbers, times and names as people read them. Plain English and no locale, so that scripts and tests see the same
// text as operators.

import KeyReplica

public enum Wording {
  /// `1,000,000`.
  public static func count(_ number: some BinaryInteger) -> String {
    let digits = String(number.magnitude)
    var grouped = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: 3) { grouped += "," }
      grouped.append(digit)
    }
    return number < 0 ? "-" + grouped : grouped
  }

  /// `1 key`, `2,000 keys`.
  public static func number(_ number: some BinaryInteger, _ noun: String) -> String {
    "\(count(number)) \(noun)\(number == 1 ? "" : "s")"
  }

  /// For nouns that don't end in a plain s: `1 push`, `2 pushes`.
  static func number(_ number: some BinaryInteger, _ one: String, _ several: String) -> String {
    "\(count(number)) \(number == 1 ? one : several)"
  }

  /// `0.4 s`, `14 s`, `3 min`, `5 h 12 min`, `3 d 4 h`.
  public static func time(seconds: Double) -> String {
    guard seconds.isFinite, seconds < 1e11 else { return "an unknown time" }
    let whole = Int(max(seconds, 0))
    switch whole {
    case ..<10:
      // Cut, not rounded: 9.99 is not yet 10.
      let tenths = Int(max(seconds, 0) * 10)
      return tenths.isMultiple(of: 10) ? "\(tenths / 10) s" : "\(tenths / 10).\(tenths % 10) s"
    case ..<60: return "\(whole) s"
    case ..<3_600: return "\(whole / 60) min"
    case ..<86_400:
      let minutes = whole % 3_600 / 60
      return "\(whole / 3_600) h" + (minutes == 0 ? "" : " \(minutes) min")
    default:
      let hours = whole % 86_400 / 3_600
      return "\(count(whole / 86_400)) d" + (hours == 0 ? "" : " \(hours) h")
    }
  }

  public static func time(_ duration: Duration) -> String { time(seconds: duration.fractionalSeconds) }

  /// `12 s ago`.
  public static func ago(seconds: Double) -> String { "\(time(seconds: seconds)) ago" }

  /// `512 B`, `1.2 GiB`.
  public static func bytes(_ bytes: UInt64) -> String {
    var amount = Double(bytes)
    for unit in ["B", "KiB", "MiB", "GiB"] {
      if amount < 1_024 { return unit == "B" ? "\(bytes) B" : "\(tenths(amount)) \(unit)" }
      amount /= 1_024
    }
    return "\(tenths(amount)) TiB"
  }

  private static func tenths(_ amount: Double) -> String {
    let tenths = Int((amount * 10).rounded())
    return "\(count(tenths / 10)).\(tenths % 10)"
  }

  /// `0.4`, `1,234`: with a tenth for small numbers.
  public static func rate(_ number: Double) -> String {
    guard number.isFinite, abs(number) < 1e15 else { return "?" }
    return abs(number) < 10 && number != number.rounded() ? tenths(number) : count(Int64(number.rounded()))
  }

  /// `a, b and c`; `a, b, c and 4 more`.
  public static func list(_ names: [String], atMost most: Int) -> String {
    if names.count > most + 1 {
      return names.prefix(most).joined(separator: ", ") + " and \(count(names.count - most)) more"
    }
    guard let last = names.last, names.count > 1 else { return names.first ?? "nobody" }
    return names.dropLast().joined(separator: ", ") + " and \(last)"
  }

  /// Makes text from other sources safe for a terminal: control characters become `?`.
  public static func printable(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned: result.append("?")
      default: result.append(scalar)
      }
    }
    return String(result)
  }
}
