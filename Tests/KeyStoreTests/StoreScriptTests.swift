// Checks the text of the key store's scripts. Their effects are tested where they are used.

import Hiredis
import RedisClient
import RedisFixture
import SimulatedStore
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(1))) struct StoreScriptTests {
  private let lua: LuaFiles

  init() throws { lua = try LuaFiles(of: "KeyStore") }

  @Test func `Redis takes every script`() async throws {
    #expect(try await lua.flaws(ofEmbedded: StoreScripts.all) == [])
  }

  @Test func `every file includes what it uses, and uses what it includes`() { #expect(lua.flaws() == []) }

  @Test func `the codes of errors are known, and the simulated store's are the same`() {
    #expect(lua.errorCodes == Set(StoreErrorCode.allCases.map(\.rawValue)))
    #expect(
      lua.errorCodes.subtracting([StoreErrorCode.leaseEnded.rawValue])
        == Set(StoreRefusal.Code.allCases.map(\.rawValue)))
  }

  @Test func `the manifest has the fields that are read`() throws {
    let fields = try #require(lua.files["manifest.lua"]).strings
    let others = [StoreLayout.summaryField, "HMGET", "HGET", "HLEN", "TIME", "%.0f"]
    #expect(fields == Set(StoreLayout.metaFields + others))
  }
}
