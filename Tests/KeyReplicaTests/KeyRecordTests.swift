import Testing

@testable import KeyReplica

@Suite struct KeyRecordTests {
  @Test func `a record is one line that is read back`() throws {
    let record = KeyRecord(state: .suspended, since: 1_763_683_200, account: "Été & fils, 2nd")
    #expect(String(decoding: record.encoded, as: UTF8.self) == "1 s 1763683200 Été & fils, 2nd")
    #expect(try KeyRecord(decoding: record.encoded) == record)
    #expect(try KeyRecord(decoding: Array("1 a -5 acme".utf8)).since == -5)
    let numbered = KeyRecord(state: .active, since: 5, version: 17, revision: 0, account: "1/2 3")
    #expect(String(decoding: numbered.encoded, as: UTF8.self) == "1 a 5/17/0 1/2 3")
    #expect(try KeyRecord(decoding: numbered.encoded) == numbered)
    let versioned = KeyRecord(state: .active, since: 5, version: 17, account: "acme")
    #expect(try KeyRecord(decoding: Array("1 a 5/17 acme".utf8)) == versioned)
  }

  @Test func `a record with an end has another schema`() throws {
    let record = KeyRecord(
      state: .active, since: 5, version: 17, revision: 3, expiresAt: 1_795_219_200, account: "2 acme")
    #expect(String(decoding: record.encoded, as: UTF8.self) == "2 a 5/17/3 1795219200 2 acme")
    #expect(try KeyRecord(decoding: record.encoded) == record)
    let last = KeyRecord(state: .revoked, since: 5, expiresAt: KeyRecord.expiryLimit, account: "acme")
    #expect(try KeyRecord(decoding: last.encoded) == last)
    #expect(record.hasExpired(at: 1_795_219_200) && !record.hasExpired(at: 1_795_219_199))
  }

  @Test(arguments: [
    "", "1", "1 a 5", "1 a 5 ", "2 a 5 acme", "01 a 5 acme", "1 x 5 acme", "1 A 5 acme", "1 a +5 acme", "1 a 05 acme",
    "1 a five acme", "1  a 5 acme", " 1 a 5 acme", "1 a 99999999999999999999 acme", "1 a 5 ac\nme", "1 a 5 ac\u{7f}me",
    "1 aa 5 acme", "active", "1 a 5/ acme", "1 a 5/1/ acme", "1 a 5/1/2/3 acme", "1 a /1 acme",
    "1 a 5/-1 acme", "2 a 5 7", "2 a 5 acme 7", "2 a 5 -1 acme", "2 a 5 07 acme", "2 a 5  acme",
    "2 a 5 253402300800 acme", "3 a 5 7 acme", "1 a 5/01 acme", "1 a 5//1 acme", "1 a 5/x acme",
    "1 a 5/99999999999999999999 acme",
  ])
  func `anything else is undecodable, which is an error`(line: String) {
    #expect(throws: UndecodableRecord.self) { try KeyRecord(decoding: Array(line.utf8)) }
  }

  @Test func `bytes that aren't UTF-8 are undecodable, not repaired`() {
    #expect(throws: UndecodableRecord.self) { try KeyRecord(decoding: Array("1 a 5 ac".utf8) + [0xff]) }
  }

  @Test func `an account has 1 to 255 bytes`() throws {
    let longest = String(repeating: "x", count: 255)
    #expect(try KeyRecord(decoding: Array("1 a 5 \(longest)".utf8)).account == longest)
    #expect(throws: UndecodableRecord.self) { try KeyRecord(decoding: Array("1 a 5 \(longest)x".utf8)) }
    #expect(KeyRecord.objection(toAccount: "") != nil)
    #expect(KeyRecord.objection(toAccount: "a\tb") != nil)
    #expect(KeyRecord.objection(toAccount: "a b") == nil)
  }
}
