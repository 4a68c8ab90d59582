import Fleet
import Testing

struct WordingTests {
  @Test(arguments: [
    (0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_000_000, "1,000,000"), (-1_234, "-1,234"),
  ]) func `numbers are grouped`(number: Int, text: String) {
    #expect(Wording.count(number) == text)
  }

  @Test func `one is singular`() {
    #expect(Wording.number(1, "key") == "1 key")
    #expect(Wording.number(0, "key") == "0 keys")
    #expect(Wording.number(UInt64.max, "key") == "18,446,744,073,709,551,615 keys")
  }

  @Test(arguments: [
    (0.0, "0 s"), (0.04, "0 s"), (0.4, "0.4 s"), (1.0, "1 s"), (9.99, "9.9 s"), (10.0, "10 s"), (59.9, "59 s"),
    (60.0, "1 min"), (3_599.0, "59 min"), (3_600.0, "1 h"), (18_720.0, "5 h 12 min"), (86_400.0, "1 d"),
    (273_600.0, "3 d 4 h"), (-3.0, "0 s"), (.nan, "an unknown time"), (.infinity, "an unknown time"),
  ]) func `times are as exact as anybody wants to know`(seconds: Double, text: String) {
    #expect(Wording.time(seconds: seconds) == text)
  }

  @Test(arguments: [
    (0 as UInt64, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_288_490_189, "1.2 GiB"), (1 << 50, "1,024.0 TiB"),
  ]) func `bytes have units`(bytes: UInt64, text: String) {
    #expect(Wording.bytes(bytes) == text)
  }

  @Test func `rates have a tenth where it matters`() {
    #expect(Wording.rate(0) == "0")
    #expect(Wording.rate(0.44) == "0.4")
    #expect(Wording.rate(812.4) == "812")
    #expect(Wording.rate(12_345.6) == "12,346")
    #expect(Wording.rate(.nan) == "?")
    #expect(Wording.rate(1e300) == "?")
  }

  @Test func `lists end with and`() {
    #expect(Wording.list([], atMost: 2) == "nobody")
    #expect(Wording.list(["a"], atMost: 2) == "a")
    #expect(Wording.list(["a", "b"], atMost: 2) == "a and b")
    // "and 1 more" would be no shorter than the name.
    #expect(Wording.list(["a", "b", "c"], atMost: 2) == "a, b and c")
    #expect(Wording.list(["a", "b", "c", "d"], atMost: 2) == "a, b and 2 more")
  }

  @Test func `text from elsewhere can't command a terminal`() {
    #expect(Wording.printable("a\u{1B}[2Jb\r\nc\u{202E}d\u{9B}é🦆") == "a?[2Jb??c?d?é🦆")
  }
}
