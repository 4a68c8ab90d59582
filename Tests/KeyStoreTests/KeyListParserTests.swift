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
    let expected = KeyListEntry(key: id, state: .active, account: "acme", line: 2)
    #expect(try parse(["key,account", "s3cret,acme"]) == [expected])
    #expect(try parse(["account,key_id", "acme,\(id.hex)"]) == [expected])
    #expect(try parse(["state,account,key", ",acme,s3cret"]) == [expected])
    #expect(try parse(["state,account,key", "suspended,acme,s3cret"]).map(\.state) == [.suspended])
    #expect(try parse(["key,account,state", "s3cret,acme,revoked"]).map(\.state) == [.revoked])
  }

  @Test func `JSON lines are told by the first line`() throws {
    let entries = try parse([
      #"{"key": "s3cret", "account": "Été \"& Co\""}"#, "",
      #"{"account": "b", "key_id": "\#(KeyID(secret: "x".utf8).hex)", "state": "suspended", "key": null}"#,
    ])
    #expect(entries.map(\.account) == ["Été \"& Co\"", "b"])
    #expect(entries.map(\.state) == [.active, .suspended])
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
}
