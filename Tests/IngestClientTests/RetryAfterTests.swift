import Testing

@testable import IngestClient

struct RetryAfterTests {
  /// 1994-11-06 08:49:37 UTC, the RFC's example.
  private let example: Int64 = 784_111_777

  @Test func `all three forms of a date are the same moment`() {
    for text in [
      "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
    ] {
      #expect(RetryAfter.seconds(ofDate: text) == example)
    }
    #expect(RetryAfter.seconds(ofDate: "Thu, 01 Jan 1970 00:00:00 GMT") == 0)
    #expect(RetryAfter.seconds(ofDate: "Thu, 29 Feb 2024 23:59:59 GMT") == 1_709_251_199)
    #expect(RetryAfter.seconds(ofDate: "Fri, 01 Mar 2024 00:00:00 GMT") == 1_709_251_200)
    #expect(RetryAfter.seconds(ofDate: "Sat, 21 Nov 2026 00:00:00 GMT") == 1_795_219_200)
  }

  @Test func `seconds are seconds, however many`() {
    #expect(RetryAfter.wait("0", date: nil, now: 0) == .zero)
    #expect(RetryAfter.wait("120", date: nil, now: 0) == .seconds(120))
    #expect(RetryAfter.wait("99999999999999999999999", date: nil, now: 0) == .seconds(1 << 32))
  }

  @Test func `a date counts from the answer's own date, or else from our clock`() {
    let later = "Sun, 06 Nov 1994 08:50:37 GMT"
    #expect(RetryAfter.wait(later, date: nil, now: example) == .seconds(60))
    // Our clock is an hour ahead.
    #expect(RetryAfter.wait(later, date: "Sun, 06 Nov 1994 08:49:37 GMT", now: example + 3600) == .seconds(60))
    #expect(RetryAfter.wait(later, date: "nonsense", now: example) == .seconds(60))
    #expect(RetryAfter.wait(later, date: nil, now: example + 3600) == .zero)
  }

  @Test(arguments: [
    "", " ", "-1", "1.5", "soon", "+3", "٣", "Sun, 06 Nov 1994", "Sun, 06 Foo 1994 08:49:37 GMT",
    "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET",
  ])
  func `what isn't understood is nothing`(text: String) {
    #expect(RetryAfter.wait(text, date: nil, now: 0) == nil)
  }
}
