// Checks the text of the queue's scripts. Their effects are tested where they are used.

import Hiredis
import RedisClient
import RedisFixture
import Testing

@testable import IngestQueue

@Suite(.timeLimit(.minutes(1))) struct QueueScriptTests {
  private let lua: LuaFiles

  init() throws { lua = try LuaFiles(of: "IngestQueue") }

  @Test func `Redis takes every script`() async throws {
    #expect(try await lua.flaws(ofEmbedded: QueueScripts.all) == [])
  }

  @Test func `every file includes what it uses, and uses what it includes`() { #expect(lua.flaws() == []) }

  @Test func `scripts and callers use the same words`() throws {
    func file(_ name: String) throws -> LuaFile { try #require(lua.files[name]) }
    let words = try Set(["claim.lua", "settle.lua", "extend.lua"].flatMap { try file($0).answers })
    #expect(words == Set(ClaimAnswer.allCases.map(\.rawValue)))
    // A fate that settle.lua doesn't name is a retry.
    let fates = Set(SettleScript.Change.Name.allCases.map(\.rawValue)).subtracting(["retry"])
    let known = try file("settle.lua").strings
    #expect(fates.isSubset(of: known))
    let orders = try file("dead_letter_page.lua").strings
    #expect(orders.contains(DeadLetters.Order.newest.rawValue))
  }
}
