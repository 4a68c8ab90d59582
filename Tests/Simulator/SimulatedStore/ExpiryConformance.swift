// A key store's rules for expiry, as scenarios that the simulated store and the real one on Redis both pass, like those
// of StoreConformance.

import KeyReplica

extension StoreConformance {
  static let expiries: [StoreScenario] = [
    StoreScenario("a put gives a key an end, leaves it, changes it and removes it") { store in
      _ = try await store.apply([put("a", expiry: .set(2000)), put("b")])
      try expectEqual(try await store.record(of: "a").expiresAt, 2000, "the end of a new key")
      try expectEqual(try await store.record(of: "b").expiresAt, nil, "the end of a key without one")
      var outcome = try await store.apply([put("a"), put("a", expiry: .set(2000)), put("b", expiry: .remove)])
      try expectEqual(outcome.results, ["ua", "ua", "ua"], "nothing new")
      outcome = try await store.apply([put("a", expiry: .set(3000)), put("b", expiry: .set(0))])
      try expectEqual(outcome.results, ["ca", "ca"], "new ends")
      try expectEqual(try await store.record(of: "a").expiresAt, 3000, "the changed end")
      try expectEqual(try await store.record(of: "b").expiresAt, 0, "the first end of a known key")
      try expectEqual(try await store.apply([put("a", expiry: .remove)]).results, ["ca"], "removing")
      try expectEqual(try await store.record(of: "a").expiresAt, nil, "the removed end")
      try await store.expectSound(version: 5, records: ["a": (.active, "acme"), "b": (.active, "acme")])
    },
    StoreScenario("an end stays with its key whatever else changes, and isn't a change of its state") { store in
      _ = try await store.apply([put("a", expiry: .set(2000))])
      let since = try await store.record(of: "a").since
      _ = try await store.apply([put("a", revision: 7)])
      try expectEqual(try await store.record(of: "a").expiresAt, 2000, "the end after a new revision")
      _ = try await store.apply([put("a", expiry: .set(2500))])
      let record = try await store.record(of: "a")
      try expectEqual([record.since, Int64(record.revision ?? 0)], [since, 7], "since when, and the revision")
      _ = try await store.apply([set("a", .suspended), put("a", "other", nil)])
      try expectEqual(try await store.record(of: "a").expiresAt, 2500, "the end of a suspended key that was moved")
      _ = try await store.apply([set("a", .revoked)])
      let cautious = StoreEdit.Permissions.everything.subtracting(.reactivate)
      let late = put("a", "other", nil, allowing: cautious, expiry: .set(9000))
      try expectEqual(try await store.apply([late]).results, ["rr"], "the end of a revoked key")
      try expectEqual(try await store.record(of: "a").expiresAt, 2500, "the end of the revoked key after that")
      let purged = try await store.purge([key("a")], revokedBefore: .max)
      try expectEqual(purged.results, ["c-"], "purging it")
      try await store.expectSound(version: 7, records: [:])
    },
    StoreScenario("a change with an older revision changes no end") { store in
      _ = try await store.apply([put("a", revision: 8, expiry: .set(2000))])
      try expectEqual(try await store.apply([put("a", revision: 7, expiry: .set(1))]).results, ["oa"], "an older one")
      try expectEqual(try await store.record(of: "a").expiresAt, 2000, "the end")
    },
    StoreScenario("a store with an end has another schema, which it keeps, also when it is rebuilt") { store in
      _ = try await store.apply([put("a"), put("b", expiry: .set(2000))])
      _ = try await store.found()
      _ = try await store.seal(mayBeEmpty: false)
      try await store.rebuild()
      _ = try await store.apply([put("c")])
      try expectEqual(try await store.record(of: "b").expiresAt, 2000, "the end after the rebuild")
      let position = try await store.found()
      try expectEqual(position.count, 3, "the records")
      try await store.setSchema(KeyRecord.schema)
      _ = try await store.apply([put("c", expiry: .set(2000))])
      try await store.expectSound(
        version: position.version + 1,
        records: ["a": (.active, "acme"), "b": (.active, "acme"), "c": (.active, "acme")])
    },
  ]
}
