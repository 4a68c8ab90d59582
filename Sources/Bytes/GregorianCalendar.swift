// Dates as days. Rejected: Foundation's calendar, which the client library and the parsers of dates don't need otherwise.

package enum GregorianCalendar {
  /// Days from the beginning of 1970 to a day. Years are counted from March, so that the leap day is the last of its
  /// year.
  package static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    let (marchYear, marchMonth) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
    // Year 0 begins with a January that is counted to the year before.
    let era = (marchYear >= 0 ? marchYear : marchYear - 399) / 400
    let yearOfEra = marchYear - era * 400
    let dayOfYear = (153 * marchMonth + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }
}
