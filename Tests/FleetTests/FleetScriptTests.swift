// Checks the text of the fleet's scripts. Their effects are tested where they are used.

import Hiredis
import RedisClient
import RedisFixture
import Testing

@testable import Fleet

@Suite(.timeLimit(.minutes(1))) struct FleetScriptTests {
  private let lua: LuaFiles

  init() throws { lua = try LuaFiles(of: "Fleet") }

  @Test func `Redis takes every script`() async throws {
    #expect(try await lua.flaws(ofEmbedded: FleetScripts.all) == [])
  }

  @Test func `every file includes what it uses, and uses what it includes`() { #expect(lua.flaws() == []) }

  @Test func `the codes of errors are known`() {
    #expect(lua.errorCodes == Set(FleetErrorCode.allCases.map(\.rawValue)))
  }
}
