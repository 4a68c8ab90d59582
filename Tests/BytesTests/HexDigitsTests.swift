import Bytes
import Foundation
import Testing

@Suite struct HexDigitsTests {
  private static let numbers: [UInt64] = [
    0, 1, 9, 0xA, 0xF, 0x10, 0x99, 0x0123_4567_89AB_CDEF, 0xFEDC_BA98_7654_3210, .max, 1 << 63,
  ]

  @Test(arguments: numbers) func `a number has all its digits, and comes back from them`(number: UInt64) {
    let digits = String(format: "%016lx", number)
    #expect(number.hexDigits() == digits)
    #expect(number.hexDigits(uppercase: true) == digits.uppercased())
    #expect(UInt64(hexDigits: digits.utf8) == number)
    #expect(UInt64(hexDigits: digits.uppercased().utf8) == number)
    let word = HexDigits.ascii(UInt32(truncatingIfNeeded: number))
    #expect(withUnsafeBytes(of: word.littleEndian) { String(decoding: $0, as: UTF8.self) } == digits.suffix(8))
    var memory = [UInt8](repeating: 0, count: 16)
    memory.withUnsafeMutableBytes {
      var writer = RawBufferWriter($0)
      writer.write(hexadecimal: number)
      #expect(writer.count == 16)
    }
    #expect(memory == Array(digits.utf8))
  }

  @Test func `every byte is told apart from digits and has two digits itself`() {
    for byte in UInt8.min...UInt8.max {
      let digit = String(UnicodeScalar(byte))
      #expect(byte.hexadecimal == (byte < 0x80 ? UInt8(digit, radix: 16) : nil), "\(byte)")
      #expect(byte.decimal == (byte < 0x80 ? UInt8(digit, radix: 10) : nil), "\(byte)")
      #expect(byte.isDigit == (byte.decimal != nil), "\(byte)")
      #expect(byte.hexDigits() == String(format: "%02x", byte))
    }
    for value in UInt8(0)..<16 { #expect(HexDigits.ascii(halfByte: value).hexadecimal == value) }
  }

  @Test(arguments: ["", "0", "00112233445566778", "001122334455667g", "+01122334455667a", "é01122334455667"])
  func `anything but sixteen digits is no number of 64 bits`(text: String) {
    #expect(UInt64(hexDigits: text.utf8) == nil)
  }

  @Test(arguments: [0, 1, 9, 10, 99, 100, 12_345, Int64.max, -1, -10, Int64.min])
  func `a number has its decimal digits`(number: Int64) {
    var text = ""
    DecimalDigits.with(number) { text = String(decoding: $0, as: UTF8.self) }
    #expect(text == "\(number)")
  }
}
