import Hiredis
import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct PublicationTests {
  private func states(_ store: StoreBench) async throws -> [KeyState: Int] {
    let result = try await store.connection.verifyStore(store.layout)
    #expect(result.problems == [])
    return result.keysByState
  }

  private func list(_ secrets: some Sequence<String>, account: String = "acme") throws -> KeyListSpool {
    try KeyListSpoolTests.spool("key,account\n" + secrets.map { "\($0),\(account)\n" }.joined())
  }

  private func publication(
    _ store: StoreBench, sync: Bool = true, reactivates: Bool = false, version: UInt64? = nil
  ) -> Publication {
    Publication(
      connection: store.connection, layout: store.layout,
      terms: .init(revokesUnlisted: sync, reactivates: reactivates, version: version))
  }

  /// Plans and carries out a list, whatever it takes away.
  private func carryOut(_ list: KeyListSpool, by publication: Publication) async throws -> Publication.Outcome {
    try await publication.carryOut(list, agreed: publication.plan(for: list))
  }

  private func counts(_ consequences: ListConsequences) -> [Int] {
    [consequences.active] + ListConsequences.Kind.allCases.map { consequences[$0] }
  }

  @Test func `an import adds and changes what is listed and leaves the rest`() async throws {
    try await StoreBench.with { store in
      try await store.put(["old 1", "old 2"])
      let publication = publication(store, sync: false)
      let listed = try list((0..<3000).map { "key\($0)" })
      var progress = 0
      let outcome = try #require(
        try await publication.carryOut(listed, agreed: publication.plan(for: listed)) { progress = $0 }.edits)
      #expect((outcome.changed, outcome.unchanged, progress) == (3000, 0, 3000))
      #expect(try await states(store) == [.active: 3002])
      let again = try #require(try await carryOut(listed, by: publication).edits)
      #expect((again.changed, again.unchanged, again.version) == (0, 3000, outcome.version))
      let empty = try await carryOut(list([]), by: publication).edits
      #expect(empty == nil)
    }
  }

  @Test func `until the first batch is in the store no other is on its way, which could overtake it`() async throws {
    try await StoreBench.with { store in
      // All in one partition, and more than one batch: Redis has neither the store nor the scripts.
      let secrets = (0...).lazy.map { "key\($0)" }.filter {
        KeyID(secret: $0.utf8).bucket(of: KeyListSpool.partitionCount) == 0
      }.prefix(4 * KeyStoreWriter.batchLimit)
      let outcome = try #require(try await carryOut(list(secrets), by: publication(store, sync: false)).edits)
      #expect(outcome.changed == 4 * KeyStoreWriter.batchLimit)
      // Once for each script, and once for the store: whoever else had been sent would have met them too, and been sent again.
      #expect(try await store.errors() == ["NOSCRIPT": 2, "STORENONE": 1])
    }
  }

  @Test func `a sync revokes exactly what isn't listed, and leaves states that the list doesn't say`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<1000).map { "key\($0)" })
      _ = try await store.writer.apply([
        .set("key0", .revoked), .set("key1", .suspended), .set("key998", .suspended), .set("key999", .revoked),
      ])
      let listed = try list((0..<900).map { "key\($0)" } + ["new"])
      let outcome = try await carryOut(listed, by: publication(store))
      // 996 are active; of the hundred that aren't listed two aren't.
      #expect(counts(outcome.consequences) == [996, 0, 0, 98, 1, 0, 0])
      // New: one. Gone: 98 and a suspended one.
      #expect(outcome.edits?.changed == 100)
      #expect((outcome.edits?.leftSuspended, outcome.edits?.leftRevoked) == (1, 1))
      #expect(try await states(store) == [.active: 899, .suspended: 1, .revoked: 101])
      #expect(try await store.discrepancies() == [])
      // The store counts the agreed removals and no others, so that nodes needn't count them.
      #expect(try await store.run("HGET", store.layout.meta, "announced").string() == "98")
      #expect(counts(try await publication(store).plan(for: listed)) == [899, 0, 0, 0, 0, 0, 0])
      // Bringing back is a word of its own, for a list that says so as well.
      let explicit = try KeyListSpoolTests.spool("key,account,state\nkey0,acme,active\nkey1,acme,active\n")
      let left = try await carryOut(explicit, by: publication(store, sync: false))
      #expect((left.edits?[.staysRevoked], left.edits?.changed) == (1, 1))
      let back = try await carryOut(listed, by: publication(store, reactivates: true))
      #expect((back.edits?.changed, back.consequences.count) == (1, 0))
      #expect(try await states(store) == [.active: 901, .revoked: 100])
    }
  }

  @Test func `each way to lose access or the account is counted, once for each key`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<10).map { "key\($0)" })
      try await store.put(["other"], account: "globex")
      _ = try await store.writer.apply([.set("key8", .suspended), .set("key9", .revoked)])
      let listed = try KeyListSpoolTests.spool(
        """
        key,account,state
        key0,acme,active
        key1,acme,revoked
        key1,acme,revoked
        key2,acme,suspended
        key3,umbrella,active
        key4,umbrella,revoked
        key8,umbrella,
        key9,umbrella,
        new,acme,revoked

        """)
      var plan = try await publication(store, sync: false).plan(for: listed)
      // Two revoked, one suspended, two moved: one of them is suspended. The revoked one stays as it is.
      #expect(counts(plan) == [9, 2, 1, 0, 0, 2, 0])
      plan = try await publication(store).plan(for: listed)
      // Besides, not listed: 5, 6, 7 and the other one.
      #expect(counts(plan) == [9, 2, 1, 4, 0, 2, 0])
      #expect(plan.count == 9 && !plan.isWithin(percent: 99.9) && plan.isWithin(percent: 100))
      #expect(Set(plan.examples(of: .unlisted)) == ["acme", "globex"])
      let outcome = try await publication(store).carryOut(listed, agreed: plan)
      #expect(counts(outcome.consequences) == counts(plan))
      #expect(try await states(store) == [.active: 2, .suspended: 2, .revoked: 8])
      // Agreed to: the seven that were active. What moved is still admitted.
      #expect(try await store.run("HGET", store.layout.meta, "announced").string() == "7")
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `of keys that aren't active, or where there are none, nothing is lost`() async throws {
    try await StoreBench.with { store in
      let revoked = try KeyListSpoolTests.spool("key,account,state\na,acme,revoked\nb,acme,suspended\n")
      #expect(counts(try await publication(store).plan(for: revoked)) == [0, 0, 0, 0, 0, 0, 0])
      _ = try await carryOut(revoked, by: publication(store))
      #expect(counts(try await publication(store).plan(for: revoked)) == [0, 0, 0, 0, 0, 0, 0])
      #expect(try await store.run("HGET", store.layout.meta, "announced") == .null)
      // A share of nothing: only by a word for everything.
      let moved = try await publication(store, sync: false).plan(for: list(["b"], account: "other"))
      #expect(moved[.moved] == 1 && moved.neededPercent == 100 && !moved.isWithin(percent: 99))
    }
  }

  @Test(arguments: [(1, 1000, 0.1), (51, 1000, 5.1), (1, 3, 33.4), (999, 1000, 99.9), (3, 3, 100)])
  func `the share that is named is the smallest that would do`(lost: Int, of active: Int, percent: Double) {
    var plan = ListConsequences()
    for number in 0..<active {
      plan.note(KeyRecord(state: .active, since: 0, account: "acme"), number < lost ? .unlisted : nil)
    }
    #expect(plan.neededPercent == percent)
    #expect(plan.isWithin(percent: percent) && !plan.isWithin(percent: percent - 0.1))
  }

  @Test func `a sync takes away no more than was planned, whoever else writes`() async throws {
    try await StoreBench.with { store in
      let publication = publication(store)
      try await store.put((0..<100).map { "key\($0)" })
      let listed = try list((0..<99).map { "key\($0)" })
      let plan = try await publication.plan(for: listed)
      #expect(plan.count == 1)
      try await store.put((0..<200).map { "meanwhile\($0)" })
      await #expect(throws: Publication.MoreThanAgreed.self) {
        _ = try await publication.carryOut(listed, agreed: plan)
      }
      #expect(try await states(store)[.revoked] ?? 0 <= 1)
    }
  }

  @Test func `what was changed since the version that a list rests on stays`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      // The list is made here. Then a customer signs up, one is suspended and one is moved.
      let listed = try list((0..<99).map { "key\($0)" })
      _ = try await store.writer.apply([.put("new"), .set("key1", .suspended), .put("key2", "other")])
      let outcome = try await carryOut(listed, by: publication(store, version: 100))
      #expect(counts(outcome.consequences) == [100, 0, 0, 1, 0, 0, 0])
      #expect((outcome.edits?.changed, outcome.edits?[.newerVersion]) == (1, 2))
      #expect(try await states(store) == [.active: 99, .suspended: 1, .revoked: 1])
    }
  }

  @Test func `a list's revisions let older rows pass by newer records`() async throws {
    try await StoreBench.with { store in
      let header = "key,account,state,revision\n"
      let new = try KeyListSpoolTests.spool(header + "a,acme,active,7\nb,acme,suspended,7\nc,acme,active,\n")
      _ = try await carryOut(new, by: publication(store))
      let old = try KeyListSpoolTests.spool(header + "a,acme,revoked,6\nb,acme,active,6\nc,acme,active,1\n")
      let outcome = try await carryOut(old, by: publication(store))
      #expect(counts(outcome.consequences) == [2, 0, 0, 0, 0, 0, 0])
      #expect((outcome.edits?[.olderRevision], outcome.edits?.changed) == (2, 1))
      #expect(try await states(store) == [.active: 2, .suspended: 1])
    }
  }

  @Test func `a store with what isn't a key id isn't synced`() async throws {
    try await StoreBench.with { store in
      try await store.put(["key1"])
      try await store.run("HSET", store.layout.bucket(5), "note", "x")
      await #expect(throws: UnreadableStore.self) { _ = try await publication(store).plan(for: list(["key1"])) }
    }
  }

  @Test func `an import leaves a record that can't be read, and a sync doesn't touch such a store`() async throws {
    try await StoreBench.with { store in
      try await store.put(["key1", "key2"])
      try await store.run("HSET", store.bucket(of: "key1"), KeyID(secret: "key1".utf8).bytes, "active")
      let error = await #expect(throws: DamagedRecord.self) {
        _ = try await publication(store).plan(for: list(["key1"]))
      }
      #expect(error?.key == KeyID(secret: "key1".utf8) && error?.reason != nil)
      let plan = try await publication(store, sync: false).plan(for: list(["key1", "new"]))
      #expect(plan.effects[.damaged] == 1 && plan.effects[.added] == 1)
      let outcome = try await carryOut(list(["key1", "new"]), by: publication(store, sync: false))
      #expect(outcome.edits?.changed == 1 && outcome.edits?[.damaged] == 1)
      #expect(try await store.connection.verifyStore(store.layout).keysByState == [.active: 2])
    }
  }

  @Test func `of records without a version the change stream says which were changed since`() async throws {
    try await StoreBench.with { store in
      // Three keys in one bucket, written by an older build.
      let bucket = KeyID(secret: "key".utf8).bucket(of: StoreLayout.bucketCount)
      var (keys, number): ([String], Int) = ([], 0)
      while keys.count < 3 {
        number += 1
        if KeyID(secret: "key\(number)".utf8).bucket(of: StoreLayout.bucketCount) == bucket {
          keys.append("key\(number)")
        }
      }
      try await store.put(keys)
      _ = try await store.writer.apply([.put(keys[1], "other"), .put(keys[1], "acme")])
      for key in keys {
        try await store.run("HSET", store.layout.bucket(bucket), KeyID(secret: key.utf8).bytes, "1 a 17 acme")
      }
      let text = "key,account,state\n\(keys[0]),acme,suspended\n\(keys[1]),acme,suspended\n"
      let listed = try KeyListSpoolTests.spool(text)
      // The list began after the third change: keys[1] was changed since, and its bucket with it.
      let outcome = try await carryOut(listed, by: publication(store, version: 3))
      #expect((outcome.edits?.changed, outcome.edits?[.newerVersion]) == (2, 1))
      #expect(try await store.state(of: keys[0]) == .suspended)
      #expect(try await store.state(of: keys[1]) == .active)
      #expect(try await store.state(of: keys[2]) == .revoked)
      // A stream that doesn't go back so far leaves it unknown.
      try await store.run("XTRIM", store.layout.changes, "MAXLEN", 1)
      let version = try await store.run("HGET", store.layout.meta, "version")
      await #expect(throws: ForgottenChanges.self) {
        _ = try await carryOut(listed, by: publication(store, version: 3))
      }
      #expect(try await store.run("HGET", store.layout.meta, "version") == version)
    }
  }

  @Test func `a list that began in another history changes nothing`() async throws {
    try await StoreBench.with { store in
      try await store.put(["key1"])
      let publication = Publication(
        connection: store.connection, layout: store.layout,
        terms: .init(revokesUnlisted: true, version: 1, epoch: "another"))
      await #expect(throws: Publication.AnotherHistory.self) { _ = try await publication.plan(for: list([])) }
      #expect(try await states(store) == [.active: 1])
    }
  }

  @Test func `what a list is said to do is what it does`() async throws {
    var random = SeededGenerator.announced()
    try await StoreBench.with { store in
      let accounts = ["acme", "globex"]
      for round in 0..<20 {
        let edits = (0..<60).map { _ in
          KeyEdit.put(
            "key\(Int.random(in: 0..<100, using: &random))", accounts.randomElement(using: &random)!,
            KeyState.allCases.randomElement(using: &random)!)
        }
        let version = try await store.writer.apply(edits).version
        _ = try await store.writer.apply(Array(edits.shuffled(using: &random).prefix(5)))
        var text = "key,account,state\n"
        for key in (0..<110).shuffled(using: &random).prefix(70) {
          let state = (KeyState.allCases + [nil]).randomElement(using: &random)!
          text += "key\(key),\(accounts.randomElement(using: &random)!),\(state?.word ?? "")\n"
        }
        let publication = publication(
          store, sync: Bool.random(using: &random), reactivates: Bool.random(using: &random),
          version: Bool.random(using: &random) ? version : nil)
        let list = try KeyListSpoolTests.spool(text)
        let plan = try await publication.plan(for: list)
        let before = try await store.run("HGET", store.layout.meta, "version").string()
        let edited = try #require(try await publication.carryOut(list, agreed: plan).edits)
        let effects = plan.effects
        #expect(effects.changed == edited.changed, "round \(round) from version \(before)")
        #expect(effects[.newer] == edited[.newerVersion], "round \(round)")
        #expect(effects[.staysRevoked] == edited[.staysRevoked], "round \(round)")
        #expect(effects[.unchanged] == edited.unchanged, "round \(round)")
        #expect(edited[.unagreed] + edited[.otherAccount] + edited[.missing] == 0, "round \(round)")
      }
      #expect(try await store.discrepancies() == [])
    }
  }
}
