// A key store's rules for changes that arrive late, are repeated, or lack the permission to undo a newer change:
// scenarios that the simulated store and the real one on Redis both pass, like those of StoreConformance.

import KeyReplica

extension StoreConformance {
  static let lateChanges: [StoreScenario] = [
    StoreScenario("a removal that was agreed to says so itself, and nothing else does") { store in
      let secrets = ["a", "b", "c", "d", "e"]
      _ = try await store.apply(secrets.map { put($0) })
      // Ended with and without agreement; not active; only moved; not there; already so.
      let outcome = try await store.apply([
        put("a", "acme", .revoked), set("b", .suspended, allowing: .end), set("c", .revoked),
        set("b", .revoked, allowing: .end),
        put("d", "other", .active), put("new", "acme", .revoked), set("nobody's", .revoked, allowing: .end),
        set("a", .revoked, allowing: .end), put("b", "other", .active),
      ])
      try expectEqual(outcome.results, ["cr", "cs", "cr", "cr", "ca", "cr", "m-", "ur", "ca"], "the results")
      let agreed = try await store.changes(after: 5, atMost: 100).map(\.isAgreed)
      try expectEqual(agreed, [true, true, false, false, false, false, false], "agreed to")
      try expectEqual(try await store.found().announced, 2, "the number of removals that were agreed to")
    },
    StoreScenario("a revoked key stays as it is, unless a change says that it is meant") { store in
      _ = try await store.apply([put("a"), put("b")])
      _ = try await store.apply([set("a", .revoked)])
      let cautious = StoreEdit.Permissions.everything.subtracting(.reactivate)
      for edit in [
        put("a", "acme", nil, allowing: cautious), put("a", "acme", .active, allowing: cautious),
        put("a", "other", nil, allowing: cautious), put("a", "other", .revoked, allowing: cautious),
        put("a", "acme", .suspended, allowing: cautious), set("a", .suspended, allowing: cautious),
        set("a", .active, allowing: cautious),
      ] {
        let expected = if case .put("acme", nil) = edit.kind { "ur" } else { "rr" }
        try expectEqual(try await store.apply([edit]).results, [expected], "\(edit.kind)")
      }
      try expectEqual(try await store.apply([set("a", .revoked)]).results, ["ur"], "revoking again")
      try await store.expectSound(version: 3, records: ["a": (.revoked, "acme"), "b": (.active, "acme")])
      try expectEqual(try await store.apply([put("a", allowing: .reactivate)]).results, ["ca"], "reactivating")
      try await store.expectSound(version: 4, records: ["a": (.active, "acme"), "b": (.active, "acme")])
    },
    StoreScenario("a record that can't be read stays, and the other changes of the call are made") { store in
      _ = try await store.apply([put("a"), put("b")])
      _ = try await store.apply([set("a", .revoked)])
      let since = try await store.record(of: "a").since
      let whole = Array("1 r \(since)/3 acme".utf8)
      // Cut off, without a state, and of a schema to come.
      for record in ["1 r \(since)", "1 x \(since)/3 acme", "3 r \(since)/3 acme plan=gold", ""] {
        try await store.setField(of: key("a"), to: Array(record.utf8))
        let version = try await store.found().version
        let edits = [
          put("a"), put("a", "acme", nil, allowing: []), put("a", "other", .revoked), set("a", .active),
          set("a", .revoked), put("a", revision: 9), put("b", "account \(version)"),
        ]
        let outcome = try await store.apply(edits)
        try expectEqual(outcome.results, ["d-", "d-", "d-", "d-", "d-", "d-", "ca"], "the results over \"\(record)\"")
        try expectEqual(try await store.apply([put("a")], basedOn: .max >> 12).results, ["d-"], "with a basis")
        try expectEqual(try await store.purge([key("a")], revokedBefore: .max >> 12).results, ["d-"], "purging")
        try expectEqual(try await store.found().version, version + 1, "the version")
        let field = try await store.bucket(store.bucket(of: "a")).fields.first { $0.id == key("a").bytes }
        try expectEqual(field?.record, Array(record.utf8), "the record")
      }
      try await store.setField(of: key("a"), to: whole)
      let cautious = StoreEdit.Permissions.everything.subtracting(.reactivate)
      try expectEqual(try await store.apply([put("a", allowing: cautious)]).results, ["rr"], "the record is back")
      try await store.expectSound(version: 7, records: ["a": (.revoked, "acme"), "b": (.active, "account 6")])
    },
    StoreScenario("what says nothing of the state leaves it, and a new key is active") { store in
      let edits = ["a", "s", "new"].map { put($0, "acme", nil, allowing: []) }
      _ = try await store.apply([put("a"), put("s")])
      _ = try await store.apply([set("s", .suspended)])
      try expectEqual(try await store.apply(edits).results, ["ua", "us", "ca"], "the results")
      // Its account is another matter.
      try expectEqual(try await store.apply([put("s", "other", nil, allowing: .move)]).results, ["cs"], "moving")
      // What does say it lifts a suspension.
      try expectEqual(try await store.apply([put("s", "other", .active, allowing: [])]).results, ["ca"], "lifting")
      try await store.expectSound(
        version: 6, records: ["a": (.active, "acme"), "s": (.active, "other"), "new": (.active, "acme")])
    },
    StoreScenario("a key stays with its account, and a put ends none, unless that is said") { store in
      _ = try await store.apply([put("a")])
      try expectEqual(
        try await store.apply([put("a", "other", nil, allowing: [.end, .reactivate])]).results, ["aa"], "moving")
      let put1 = put("a", "acme", .revoked, allowing: [.move, .reactivate])
      try expectEqual(try await store.apply([put1]).results, ["ea"], "ending")
      try await store.expectSound(version: 1, records: ["a": (.active, "acme")])
      try expectEqual(try await store.apply([put("a", "other", nil, allowing: .move)]).results, ["ca"], "moving")
      try expectEqual(try await store.apply([put("a", "other", .suspended, allowing: .end)]).results, ["cs"], "ending")
      // A change of the state is one key's, and somebody's decision.
      try expectEqual(try await store.apply([set("a", .revoked)]).results, ["cr"], "revoking")
    },
    StoreScenario("a change that rests on a version leaves alone what was changed since") { store in
      _ = try await store.apply([put("a"), put("b")])
      _ = try await store.apply([set("a", .suspended)])
      try expectEqual(try await store.record(of: "a").version, 3, "the record's version")
      for version in [UInt64(0), 2] {
        let results = try await store.apply([set("a", .revoked), put("a", "other", .active)], basedOn: version).results
        try expectEqual(results, ["vs", "vs"], "resting on \(version)")
      }
      // A change to the present state isn't rejected: it may be a repetition.
      try expectEqual(try await store.apply([set("a", .suspended)], basedOn: 2).results, ["us"], "the same")
      try expectEqual(
        try await store.apply([set("a", .revoked), set("b", .suspended)], basedOn: 3).results, ["cr", "cs"], "")
      try expectEqual(try await store.apply([put("new")], basedOn: 0).results, ["ca"], "a new key")
      // A record that doesn't say when it was changed: its bucket does.
      try await store.setField(of: key("b"), to: Array("1 a 7 acme".utf8))
      try expectEqual(try await store.apply([set("b", .revoked)], basedOn: 4).results, ["va"], "by the bucket")
      try expectEqual(try await store.apply([set("b", .revoked)], basedOn: 5).results, ["cr"], "by the bucket")
    },
    StoreScenario("a change with a lower revision than the record's is skipped") { store in
      _ = try await store.apply([put("a", revision: 5)])
      try expectEqual(try await store.record(of: "a").revision, 5, "the revision")
      try expectEqual(try await store.apply([set("a", .suspended, revision: 4)]).results, ["oa"], "an older one")
      try expectEqual(try await store.apply([set("a", .suspended, revision: 7)]).results, ["cs"], "a newer one")
      try expectEqual(
        try await store.apply([put("a", "acme", .active, revision: 5)]).results, ["os"], "the first again")
      try expectEqual(try await store.apply([set("a", .suspended, revision: 6)]).results, ["us"], "what is so already")
      // Without one it is somebody's decision, and leaves the number.
      try expectEqual(try await store.apply([set("a", .revoked)]).results, ["cr"], "without a revision")
      try expectEqual(try await store.record(of: "a").revision, 7, "the revision")
      // A newer revision that says the same is noted, and nothing else is.
      let since = try await store.record(of: "a").since
      try await store.expectSound(version: 3, records: ["a": (.revoked, "acme")])
      try expectEqual(try await store.apply([set("a", .revoked, revision: 9_007_199_254_740_991)]).results, ["cr"], "")
      let record = try await store.record(of: "a")
      try expectEqual([record.version, record.revision], [4, 9_007_199_254_740_991], "version and revision")
      try expectEqual(record.since, since, "since when")
      try expectEqual(try await store.apply([set("a", .suspended, revision: 8)]).results, ["or"], "an older one")
    },
  ]
}
