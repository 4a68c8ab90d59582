// Reads `Retry-After`: seconds, or a date in any of the three forms that HTTP allows (RFC 9110, 5.6.7). Rejected:
// Foundation's date parsers, which need a format for each form and a locale.

import Bytes

/// The wait that a server asks for.
enum RetryAfter {
  /// - Parameters:
  ///   - value: The header's value.
  ///   - date: The answer's own `Date` header. With it, a wrong local clock doesn't matter.
  ///   - now: Seconds since 1970 by the local clock, for an answer without a date.
  /// - Returns: Nil if it can't be parsed; zero for a date that has passed.
  static func wait(_ value: String, date: String?, now: Int64) -> Duration? {
    if !value.isEmpty, value.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
      // A number that is too large for Int64 also means a long time.
      return .seconds(min(Int64(value) ?? .max, 1 << 32))
    }
    guard let until = seconds(ofDate: value) else { return nil }
    let from = date.flatMap(seconds(ofDate:)) ?? now
    return .seconds(max(0, min(until - from, 1 << 32)))
  }

  /// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or `Sun Nov  6 08:49:37
  /// 1994`.
  static func seconds(ofDate text: String) -> Int64? {
    var parts = text.split { " ,-:".contains($0) }
    if parts.count == 8, parts[7] == "GMT" {
      parts.removeLast()
    } else if parts.count == 7 {
      parts = [parts[0], parts[2], parts[1], parts[6], parts[3], parts[4], parts[5]]
    } else {
      return nil
    }
    guard let month = months.firstIndex(of: String(parts[2])),
      let day = number(parts[1], in: 1...31), var year = number(parts[3], in: 0...9999),
      let hour = number(parts[4], in: 0...23), let minute = number(parts[5], in: 0...59),
      let second = number(parts[6], in: 0...60)
    else { return nil }
    if parts[3].count == 2 { year += year < 70 ? 2000 : 1900 }
    let days = GregorianCalendar.days(year: year, month: Int64(month) + 1, day: day)
    return days * 86_400 + hour * 3600 + minute * 60 + second
  }

  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  private static func number(_ text: Substring, in range: ClosedRange<Int64>) -> Int64? {
    guard let number = Int64(text), range.contains(number) else { return nil }
    return number
  }
}
