// The end of a key, as a publisher gives it: a time of RFC 3339, or seconds since 1970. A time without a zone isn't
// accepted, because two programs would read it as two different times. Nor is a number of milliseconds: that is a time
// after the year 9999.
//
// A fraction of a second is rounded up, so that no key ends before its time.

import Bytes
import KeyReplica

/// The effect of a put on a key's expiry.
public enum ExpiryChange: Sendable, Hashable {
  /// A known key keeps its expiry, and a new key has none.
  case keep
  /// The key has no expiry.
  case remove
  /// The key ends at this time, by Redis's clock: seconds since 1970, from 0 to ``KeyReplica/KeyRecord/expiryLimit``.
  case set(Int64)

  /// What ``init(field:)`` accepts, as text.
  public static let expectation =
    "a time with its zone such as 2026-12-31T23:59:59Z, or seconds since 1970, up to the year 9999"

  /// - Parameter text: A column or member of a list. Empty for no expiry.
  /// - Returns: nil if the text is no time.
  public init?(field text: some StringProtocol) {
    if text.isEmpty {
      self = .remove
      return
    }
    guard let seconds = Self.seconds(text) else { return nil }
    self = .set(seconds)
  }

  /// A time of RFC 3339, or seconds since 1970 up to the year 9999; nil if the text is neither.
  public static func seconds(_ text: some StringProtocol) -> Int64? {
    let bytes = Array(text.utf8)
    guard bytes.allSatisfy(\.isDigit) else { return seconds(ofTime: text) }
    return number(bytes[...]).flatMap { $0 <= KeyRecord.expiryLimit ? $0 : nil }
  }

  /// A time of RFC 3339; nil if the text is none. A time before 1970 is the beginning of 1970: a key that ended then
  /// has ended.
  public static func seconds(ofTime text: some StringProtocol) -> Int64? {
    moment(Array(text.utf8)).map { min(max($0, 0), KeyRecord.expiryLimit) }
  }

  /// The end of a key after this change.
  /// - Parameter present: The end before it.
  public func applied(to present: Int64?) -> Int64? {
    switch self {
    case .keep: present
    case .remove: nil
    case .set(let seconds): seconds
    }
  }

  /// - Returns: nil unless there are 1 to 12 digits and nothing else.
  private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
    guard (1...12).contains(digits.count), digits.allSatisfy(\.isDigit) else { return nil }
    return digits.reduce(Int64(0)) { 10 * $0 + Int64($1 - UInt8(ascii: "0")) }
  }

  /// A time of RFC 3339: 2026-12-31T23:59:59.5+01:00.
  private static func moment(_ bytes: [UInt8]) -> Int64? {
    func field(_ range: Range<Int>, _ limits: ClosedRange<Int64>) -> Int64? {
      number(bytes[range]).flatMap { limits.contains($0) ? $0 : nil }
    }
    func isMark(_ index: Int, _ marks: String) -> Bool { marks.utf8.contains(bytes[index]) }
    // The shortest is 2026-12-31T23:59:59Z.
    guard (20...255).contains(bytes.count), isMark(4, "-"), isMark(7, "-"), isMark(10, "Tt "), isMark(13, ":"),
      isMark(16, ":"), let year = field(0..<4, 0...9999), let month = field(5..<7, 1...12),
      let day = field(8..<10, 1...daysOfMonth(month, of: year)), let hour = field(11..<13, 0...23),
      // The second 60 is a leap second. Unix time counts it as the second after it.
      let minute = field(14..<16, 0...59), let second = field(17..<19, 0...60)
    else { return nil }
    var rest = 19
    var fraction: Int64 = 0
    if isMark(rest, ".") {
      let end = bytes[(rest + 1)...].firstIndex { !$0.isDigit } ?? bytes.endIndex
      guard end > rest + 1, end < bytes.endIndex else { return nil }
      if bytes[(rest + 1)..<end].contains(where: { $0 != UInt8(ascii: "0") }) { fraction = 1 }
      rest = end
    }
    var offset: Int64 = 0
    if isMark(rest, "Zz") {
      guard rest + 1 == bytes.count else { return nil }
    } else {
      guard isMark(rest, "+-"), rest + 6 == bytes.count, isMark(rest + 3, ":"),
        let hours = field(rest + 1..<rest + 3, 0...23), let minutes = field(rest + 4..<rest + 6, 0...59)
      else { return nil }
      offset = (isMark(rest, "-") ? -1 : 1) * (hours * 3600 + minutes * 60)
    }
    let clock = hour * 3600 + minute * 60 + second
    return GregorianCalendar.days(year: year, month: month, day: day) * 86_400 + clock + fraction - offset
  }

  private static func daysOfMonth(_ month: Int64, of year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }
}
