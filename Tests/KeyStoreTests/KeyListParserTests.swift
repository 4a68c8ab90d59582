import KeyReplica
import Testing

@testable import KeyStore

@Suite struct KeyListParserTests {
  private func parse(_ lines: [String]) throws -> [KeyListEntry] {
    var parser = KeyListParser()
    return try lines.compactMap { try parser.parse(Array($0.utf8)) }
  }

  private func problem(_ lines: [String]) -> KeyListProblem? {
    var parser = KeyListParser()
    do throws(KeyListProblem) {
      for line in lines { _ = try parser.parse(Array(line.utf8)) }
      return nil
    } catch {
      return error
    }
  }

  @Test func `CSV names its columns in any order, and the state may be left out`() throws {
    let id = KeyID(secret: "s3cret".utf8)
    let expected = KeyListEntry(key: id, state: nil, account: "acme", line: 2)
    #expect(try parse(["key,account", "s3cret,acme"]) == [expected])
    #expect(try parse(["account,key_id", "acme,\(id.hex)"]) == [expected])
    #expect(try parse(["state,account,key", ",acme,s3cret"]) == [expected])
    #expect(try parse(["state,account,key", "suspended,acme,s3cret"]).map(\.state) == [.suspended])
    #expect(try parse(["key,account,state", "s3cret,acme,revoked"]).map(\.state) == [.revoked])
    #expect(try parse(["key,account,state", "s3cret,acme,active"]).map(\.state) == [.active])
  }

  @Test func `a revision is a number, or nothing`() throws {
    let limit = KeyRecord.revisionLimit
    let entries = try parse(["revision,key,account", "0,a,acme", "\(limit),b,acme", ",c,acme", "0017,d,acme"])
    #expect(entries.map(\.revision) == [0, limit, nil, 17])
    let objects = try parse([
      #"{"key":"a","account":"acme","revision":17}"#, #"{"key":"b","account":"acme","revision":"17"}"#,
      #"{"key":"c","account":"acme","revision":null}"#,
    ])
    #expect(objects.map(\.revision) == [17, 17, nil])
  }

  @Test func `an end is a time with its zone, seconds, or nothing, and no column leaves it`() throws {
    let entries = try parse([
      "key,account,expires_at", "a,acme,2026-11-20T12:00:00Z", "b,acme,1795176000", "c,acme,",
      "d,acme,2026-11-20 13:00:00.000+01:00", "e,acme,9999-12-31T23:59:59.9Z",
    ])
    let moment = 1_795_176_000 as Int64
    let last = KeyRecord.expiryLimit
    #expect(entries.map(\.expiry) == [.set(moment), .set(moment), .remove, .set(moment), .set(last)])
    #expect(try parse(["key,account", "a,acme"]).map(\.expiry) == [.keep])
    let objects = try parse([
      #"{"key":"a","account":"acme","expires_at":1795176000}"#,
      #"{"key":"b","account":"acme","expires_at":"2026-11-20t12:00:00z"}"#,
      #"{"key":"c","account":"acme","expires_at":null}"#, #"{"key":"d","account":"acme"}"#,
    ])
    #expect(objects.map(\.expiry) == [.set(moment), .set(moment), .remove, .keep])
  }

  @Test(arguments: [
    "2026-11-20", "2026-11-20T12:00:00", "2026-11-20T12:00Z", "2026-11-31T12:00:00Z", "2027-02-29T00:00:00Z",
    "2026-11-20T24:00:00Z", "2026-11-20T12:00:00.Z", "2026-11-20T12:00:00+1", "2026-11-20T12:00:00 Z", "tomorrow",
    "-1", "1.5", "253402300800", "1795176000000", "+1795176000", "2026-11-20T12:00:00Zx", "٢٠٢٦",
  ])
  func `another end is a problem that says what was expected, and not what was found`(text: String) {
    let found = problem(["key,account,expires_at", "a,acme,\(text)"])
    #expect(found?.line == 2 && found?.reason.contains("2026-12-31T23:59:59Z") == true)
    if text.utf8.count > 4 { #expect(found?.reason.contains(text) == false) }
  }

  @Test func `leap days, leap seconds and the edges of years are read as everywhere`() {
    for (text, seconds) in [
      ("1970-01-01T00:00:00Z", 0), ("2024-02-29T23:59:59Z", 1_709_251_199), ("2000-03-01T00:00:00Z", 951_868_800),
      ("2016-12-31T23:59:60Z", 1_483_228_800), ("2026-12-31T23:59:59-23:59", 1_798_847_939),
      ("1969-12-31T23:59:59Z", 0), ("0000-01-01T00:00:00Z", 0), ("2026-11-20T12:00:00.000000001Z", 1_795_176_001),
    ] as [(String, Int64)] { #expect(ExpiryChange.seconds(text) == seconds, "\(text)") }
  }

  @Test func `JSON lines are told by the first line`() throws {
    let entries = try parse([
      #"{"key": "s3cret", "account": "Été \"& Co\""}"#, "",
      #"{"account": "b", "key_id": "\#(KeyID(secret: "x".utf8).hex)", "state": "suspended", "key": null}"#,
    ])
    #expect(entries.map(\.account) == ["Été \"& Co\"", "b"])
    #expect(entries.map(\.state) == [nil, .suspended])
    #expect(entries.map(\.key) == [KeyID(secret: "s3cret".utf8), KeyID(secret: "x".utf8)])
    #expect(entries.map(\.line) == [1, 3])
  }

  @Test func `quoted fields may hold commas and doubled quotes, whatever letter follows a quote`() throws {
    let entries = try parse([
      "account,key", #""a, b",k1"#, #""say ""hi""",k2"#, #""""",k3"#, "\"\u{301}x\",k4", #"plain,"k5""#, "\u{301}y,k6",
    ])
    #expect(entries.map(\.account) == ["a, b", "say \"hi\"", "\"", "\u{301}x", "plain", "\u{301}y"])
    #expect(entries.map(\.key) == (1...6).map { KeyID(secret: "k\($0)".utf8) })
  }

  @Test func `a BOM, line ends of Windows and empty lines are no part of the data`() throws {
    #expect(try parse(["\u{feff}key,account\r", "\r", "k,acme\r", "  "]).map(\.account) == ["acme"])
    #expect(try parse(["\u{feff}{\"key\":\"k\",\"account\":\"acme\"}\r"]).map(\.account) == ["acme"])
    // Only at the beginning of the list.
    #expect(problem(["key,account", "\u{feff}k,acme"])?.line == 2)
  }

  @Test(arguments: [
    ["s3cret,acme"], ["key"], ["account"], ["key,key_id,account"], ["key,account,account"], ["key,account,note"],
    ["Key,account"], ["key,account", "s3cret"], ["key,account", "s3cret,acme,more"], ["key,account", "s3cret,"],
    ["key,account", ",acme"], ["key,account", "s3 cret,acme"], ["key,account", "s3crét,acme"],
    ["key,account", "\"s3cret,acme"], ["key,account", "\"s3cret\"x,acme"], ["key,account", "s3\"cret,acme"],
    ["key,account,state", "k,acme,s3cret"], ["key_id,account", "s3cret,acme"], ["key,account", "k,\u{7}s3cret"],
    ["key,account,state", "k,acme,Active"], ["{\"key\":\"s3cret\"}"], ["{\"account\":\"acme\"}"],
    ["{\"key\":\"s3cret\",\"key_id\":\"x\",\"account\":\"acme\"}"], ["{\"key\":5,\"account\":\"s3cret\"}"],
    ["{\"key\":\"s3cret\",\"account\":\"acme\",\"stat\":\"revoked\"}"], ["{\"key\":\"s3cret\",\"account\":\"acme\""],
    ["{\"key\":\"k\",\"account\":\"acme\",\"state\":\"s3cret\"}"], ["{}", "key,account"], ["[\"s3cret\"]"],
    ["key,account,revision", "k,acme,-1"], ["key,account,revision", "k,acme,9007199254740992"],
    ["key,account,revision", "k,acme,s3cret"], ["key,account,revision", "k,acme,1.5"],
    ["{\"key\":\"k\",\"account\":\"acme\",\"revision\":1.5}"], ["{\"key\":\"k\",\"account\":7}"],
  ])
  func `what isn't understood is named by line and reason, and no secret is repeated`(lines: [String]) throws {
    let problem = try #require(self.problem(lines))
    #expect(problem.line == lines.count || lines[0] == "{}")
    #expect(!problem.description.contains("s3cret") && problem.reason.count > 10)
  }

  @Test func `text that isn't UTF-8 is a problem, not repaired`() {
    var parser = KeyListParser()
    #expect(throws: KeyListProblem.self) { try parser.parse([0x7b, 0xff]) }
  }

  @Test func `a secret has a bound`() throws {
    #expect(KeyListParser.objection(toSecret: String(repeating: "k", count: KeyListParser.secretLimit)) == nil)
    #expect(KeyListParser.objection(toSecret: String(repeating: "k", count: KeyListParser.secretLimit + 1)) != nil)
  }

  @Test func `a line with a million columns is told by the first that is too many`() throws {
    let commas = String(repeating: ",", count: 1_000_000)
    #expect(problem([commas])?.line == 1)
    #expect(problem(["key,account", commas])?.reason == "expected 2 columns as in the header, got more")
  }
}
