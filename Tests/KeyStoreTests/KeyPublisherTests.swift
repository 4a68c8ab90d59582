// The real program: exit statuses, standard input, environment, and what it prints.

import Foundation
import Hiredis
import KeyReplica
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct KeyPublisherTests {
  private func publish(
    _ store: StoreBench?, _ arguments: [String], input: String? = nil, environment: [String: String] = [:]
  ) async throws -> PublisherRun {
    try await PublisherRun.of(store, arguments, input: input, environment: environment)
  }

  private func state(of secret: String, in store: StoreBench) async throws -> KeyState? {
    try await store.state(of: secret)
  }

  @Test func `a list is imported from a file, sealed and verified`() async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      let text = "key,account\n" + (0..<500).map { "key\($0),acme\n" }.joined()
      try Data(text.utf8).write(to: folder.url("list.csv"))
      var run = try await publish(store, ["import", folder.path("list.csv"), "--seal"])
      #expect(run.status == .exited(0), "\(run)")
      #expect(run.output.contains("500 records: 500 changed") && run.output.contains("sealed with 500 keys"))
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(0) && run.output.contains("sealed   yes"), "\(run)")
      #expect(try await store.discrepancies() == [])

      try await store.run("DEL", store.bucket(of: "key7"))
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(1) && run.errors.contains("the buckets' summaries say"), "\(run)")
      run = try await publish(store, ["seal"])
      #expect(run.status == .exited(1) && run.errors.contains("not sealed"), "\(run)")
    }
  }

  @Test func `a list comes by standard input, and nothing of a bad one is applied`() async throws {
    try await StoreBench.with { store in
      var run = try await publish(store, ["import", "-"], input: "key,account\ns3cret,acme\nbroken\n")
      #expect(run.status == .exited(65) && run.errors.contains("line 3") && run.errors.contains("nothing was changed"))
      #expect(!run.errors.contains("s3cret"))
      let size = try await store.run("DBSIZE").integer()
      #expect(size == 0)
      run = try await publish(store, ["import", "-"], input: #"{"key":"s3cret","account":"acme"}"# + "\n")
      #expect(run.status == .exited(0), "\(run)")
      #expect(try await state(of: "s3cret", in: store) == .active)
      run = try await publish(store, ["import", "/nowhere/list"])
      #expect(run.status == .exited(66) && run.errors.contains("/nowhere/list"))
    }
  }

  @Test func `a sync respects its guard`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      let list = "key,account\n" + (0..<90).map { "key\($0),acme\n" }.joined()
      var run = try await publish(store, ["sync", "-", "--expect", "90"], input: list)
      #expect(run.status == .exited(3) && run.errors.contains("10 of 100 active keys"), "\(run)")
      #expect(run.errors.contains("10 would be revoked: they aren't on the list. Some of their accounts: \"acme\""))
      #expect(run.errors.contains("use --max-revoked 10."))
      #expect(try await state(of: "key95", in: store) == .active)
      run = try await publish(
        store, ["sync", "-"], input: list,
        environment: ["SLUICE_MAX_REVOKED": "10", "SLUICE_EXPECT_AT_LEAST": "90"])
      #expect(run.status == .exited(0) && run.output.contains("10 revoked"), "\(run)")
      #expect(try await state(of: "key95", in: store) == .revoked)
      // An empty list would revoke everybody.
      run = try await publish(store, ["sync", "-", "--expect", "0"], input: "key,account\n")
      #expect(run.status == .exited(3), "\(run)")
      #expect(try await state(of: "key1", in: store) == .active)
      run = try await publish(store, ["sync", "-", "--max-revoked", "101"], input: "")
      #expect(run.status == .exited(64), "\(run)")
    }
  }

  @Test(arguments: ["import", "sync"], [",acme,revoked", ",acme,suspended", ",globex,active", ",globex,"])
  func `a list that ends keys or moves them needs a word for it`(verb: String, rest: String) async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      let before = try await store.run("HGETALL", store.layout.meta)
      let list = "key,account,state\nkey0,acme,\n" + (1..<100).map { "key\($0)\(rest)\n" }.joined()
      var run = try await publish(store, [verb, "-", "--expect", "100"], input: list)
      #expect(run.status == .exited(3) && run.errors.contains("99 of 100 active keys"), "\(run)")
      #expect(run.errors.contains("use --max-revoked 99."))
      #expect(try await store.run("HGETALL", store.layout.meta) == before)
      run = try await publish(store, [verb, "-", "--expect", "100", "--max-revoked", "99"], input: list)
      #expect(run.status == .exited(0) && run.output.contains("99 changed"), "\(run)")
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `a single key is put, suspended and revoked, by any way to name it`() async throws {
    try await StoreBench.with { store in
      let id = KeyID(secret: "s3cret".utf8)
      var run = try await publish(store, ["put", "--key", "-", "--account", "acme"], input: "s3cret\n")
      #expect(run.status == .exited(0) && run.output.contains("is active; version 1"), "\(run)")
      #expect(try await state(of: "s3cret", in: store) == .active)
      run = try await publish(store, ["suspend", "--key-id", id.hex])
      #expect(run.status == .exited(0))
      #expect(try await state(of: "s3cret", in: store) == .suspended)
      run = try await publish(store, ["suspend"], environment: ["SLUICE_KEY_ID": id.hex])
      #expect(run.status == .exited(0) && run.output.contains("already"))
      run = try await publish(store, ["revoke"], environment: ["SLUICE_KEY": "s3cret"])
      #expect(run.status == .exited(0))
      #expect(try await state(of: "s3cret", in: store) == .revoked)
      run = try await publish(store, ["revoke", "--key", "s3cret-of-nobody"])
      #expect(run.status == .exited(1) && run.errors.contains("doesn't know"))
      #expect(!(run.output + run.errors).contains("s3cret"))
      run = try await publish(
        store, ["put", "--reactivate"], environment: ["SLUICE_KEY": "s3cret", "SLUICE_ACCOUNT": "acme"])
      #expect(run.status == .exited(0))
      #expect(try await state(of: "s3cret", in: store) == .active)
    }
  }

  @Test func `a change that comes late, or again, undoes nothing`() async throws {
    try await StoreBench.with { store in
      let key = ["--key", "k"]
      let put = ["put", "--account", "acme"] + key
      func run(_ arguments: [String], is status: Int32, says text: String, then state: KeyState) async throws {
        // The environment can't overrule anybody.
        let run = try await publish(
          store, arguments, environment: ["SLUICE_REACTIVATE": "1", "SLUICE_CHANGE_ACCOUNT": "1"])
        #expect(run.status == .exited(status), "\(arguments): \(run)")
        #expect((run.output + run.errors).contains(text), "\(arguments): \(run)")
        let now = try await self.state(of: "k", in: store)
        #expect(now == state, "\(arguments)")
      }
      try await run(put, is: 0, says: "is active; version 1", then: .active)
      try await run(put, is: 0, says: "is active already; version 1", then: .active)
      try await run(["put", "--account", "globex"] + key, is: 4, says: "another account", then: .active)
      try await run(["suspend"] + key, is: 0, says: "version 2", then: .suspended)
      try await run(put, is: 4, says: "--reactivate", then: .suspended)
      try await run(["revoke"] + key, is: 0, says: "version 3", then: .revoked)
      try await run(put, is: 4, says: "--reactivate", then: .revoked)
      try await run(["suspend"] + key, is: 4, says: "is revoked, and stays so", then: .revoked)
      try await run(["revoke"] + key, is: 0, says: "already", then: .revoked)
      try await run(put + ["--reactivate", "--if-version", "2"], is: 4, says: "after version 2", then: .revoked)
      try await run(put + ["--reactivate", "--if-version", "3"], is: 0, says: "version 4", then: .active)
      // The same once more, when somebody has revoked the key since.
      try await run(["revoke"] + key, is: 0, says: "version 5", then: .revoked)
      try await run(put + ["--reactivate", "--if-version", "3"], is: 4, says: "after version 3", then: .revoked)
      try await run(
        ["put", "--account", "globex", "--reactivate"] + key, is: 4, says: "--change-account", then: .revoked)
      try await run(
        ["put", "--account", "globex", "--reactivate", "--change-account"] + key, is: 0, says: "of globex",
        then: .active)
      try await run(["suspend"] + key, is: 0, says: "is suspended", then: .suspended)
      try await run(
        ["put", "--account", "acme", "--change-account"] + key, is: 0, says: "of acme is suspended;", then: .suspended)
    }
  }

  @Test func `a change with a lower revision is skipped, whichever verb it comes by`() async throws {
    try await StoreBench.with { store in
      let key = ["--key", "k"]
      let header = "key,account,state,revision\n"
      var run = try await publish(store, ["put", "--account", "acme", "--revision", "10"] + key)
      #expect(run.status == .exited(0), "\(run)")
      run = try await publish(store, ["revoke", "--revision", "12"] + key)
      #expect(run.status == .exited(0), "\(run)")
      run = try await publish(store, ["put", "--account", "acme", "--revision", "11", "--reactivate"] + key)
      #expect(run.status == .exited(4) && run.errors.contains("larger revision"), "\(run)")
      // A larger one is kept, but nobody may take that for an active key.
      run = try await publish(store, ["put", "--account", "acme", "--revision", "12"] + key)
      #expect(run.status == .exited(4) && run.errors.contains("is revoked"), "\(run)")
      run = try await publish(
        store, ["sync", "-", "--expect", "1", "--reactivate"], input: header + "k,acme,active,11\n")
      #expect(run.status == .exited(0) && run.output.contains("1 key with a larger revision"), "\(run)")
      #expect(try await state(of: "k", in: store) == .revoked)
      run = try await publish(
        store, ["sync", "-", "--expect", "1", "--reactivate"], input: header + "k,acme,active,13\n")
      #expect(run.status == .exited(0), "\(run)")
      #expect(try await state(of: "k", in: store) == .active)
    }
  }

  @Test func `a list without states leaves what an operator decided, and says so`() async throws {
    try await StoreBench.with { store in
      try await store.put(["a", "s", "r"])
      _ = try await store.writer.apply([.set("s", .suspended), .set("r", .revoked)])
      let lists = ["key,account\na,acme\ns,acme\nr,acme\nnew,acme\n", "key,account,state\na,acme,\ns,acme,\nr,acme,\n"]
      for list in lists {
        for verb in ["import", "sync"] {
          let run = try await publish(
            store, [verb, "-", "--expect-at-least", "3", "--max-revoked", "100"], input: list)
          #expect(run.status == .exited(0), "\(run)")
          #expect(run.output.contains("1 key suspended in the store: left as they are"), "\(run)")
          #expect(try await state(of: "s", in: store) == .suspended)
          #expect(try await state(of: "r", in: store) == .revoked)
        }
      }
      let run = try await publish(store, ["import", "-"], input: "key,account,state\nr,acme,active\ns,acme,active\n")
      #expect(run.status == .exited(0) && run.output.contains("1 key revoked in the store: left as they are"), "\(run)")
      #expect(try await state(of: "s", in: store) == .active)
      #expect(try await state(of: "r", in: store) == .revoked)
      // The way back from a mistake: the right list, and a word for it.
      _ = try await store.writer.apply([.set("a", .revoked), .set("s", .suspended)])
      let right = "key,account\na,acme\ns,acme\nr,acme\n"
      let healed = try await publish(store, ["import", "-", "--reactivate"], input: right)
      #expect(healed.status == .exited(0) && healed.output.contains("3 changed"), "\(healed)")
      for key in ["a", "s", "r"] { #expect(try await state(of: key, in: store) == .active) }
    }
  }

  @Test func `a command line that makes no sense is 64 and changes nothing`() async throws {
    try await StoreBench.with { store in
      let lines = [
        ["put", "--account", "acme"], ["put", "--key", "k"], ["put", "--key", "k", "--key-id", "x", "--account", "a"],
        ["put", "--key-id", "short", "--account", "acme"], ["put", "--key", "k", "--account", ""],
        ["put", "--key", "s p a c e", "--account", "acme"], ["frobnicate"], ["import"],
        ["verify", "--redis", "http://127.0.0.1"], ["verify", "--namespace", "a:b"],
      ]
      for line in lines {
        let run = try await publish(store, line)
        #expect(run.status == .exited(64), "\(line): \(run)")
        #expect(!run.errors.isEmpty && !run.errors.contains("s p a c e"))
      }
      let empty = try await publish(store, ["put", "--key", "-", "--account", "acme"], input: "")
      #expect(empty.status == .exited(64) && empty.errors.contains("empty"), "\(empty)")
      let size = try await store.run("DBSIZE").integer()
      #expect(size == 0)
    }
  }

  @Test func `an empty store is sealed only when told so`() async throws {
    try await StoreBench.with { store in
      var run = try await publish(store, ["seal"])
      #expect(run.status == .exited(1) && run.errors.contains("--allow-empty"), "\(run)")
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(1) && run.errors.contains("no key store"))
      run = try await publish(store, ["seal", "--allow-empty"])
      #expect(run.status == .exited(0), "\(run)")
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(0) && run.output.contains("sealed   yes"), "\(run)")
    }
  }

  @Test func `a damaged store is taken as it is, when somebody says so`() async throws {
    try await StoreBench.with { store in
      var run = try await publish(store, ["reseal", "--yes"])
      #expect(run.status == .exited(1) && run.errors.contains("no key store"), "\(run)")
      try await store.put((0..<100).map { "key\($0)" })
      _ = try await store.writer.seal()
      run = try await publish(store, ["reseal", "--yes"])
      #expect(run.status == .exited(0) && run.output.contains("nothing to do"), "\(run)")
      #expect(try await store.run("HGET", store.layout.meta, "version").string() == "101")

      try await store.run("DEL", store.bucket(of: "key7"))
      try await store.run("HSET", store.bucket(of: "key8"), KeyID(secret: "key8".utf8).bytes, "9 a 5 acme")
      let before = try await store.run("HGETALL", store.layout.meta)
      run = try await publish(store, ["put", "--key", "key7", "--account", "acme"])
      #expect(run.status == .exited(1) && run.errors.contains("STOREBROKEN"), "\(run)")
      run = try await publish(store, ["reseal", "--yes"])
      #expect(run.status == .exited(1) && run.errors.contains("--drop-unreadable"), "\(run)")
      #expect(run.errors.contains(KeyID(secret: "key8".utf8).hex) && run.output.contains("are missing"))
      run = try await publish(store, ["reseal", "--drop-unreadable"])
      #expect(run.status == .exited(1) && run.errors.contains("--yes"), "\(run)")
      #expect(try await store.run("HGETALL", store.layout.meta) == before)
      run = try await publish(store, ["reseal", "--drop-unreadable", "--yes"])
      #expect(run.status == .exited(0) && run.output.contains("the store is sealed with 9"), "\(run)")
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(0), "\(run)")
      run = try await publish(store, ["put", "--key", "key7", "--account", "acme"])
      #expect(run.status == .exited(0), "\(run)")

      // With nothing left it would refuse everybody.
      for index in 0..<StoreLayout.bucketCount { try await store.run("DEL", store.layout.bucket(index)) }
      run = try await publish(store, ["reseal", "--yes"])
      #expect(run.status == .exited(1) && run.errors.contains("--allow-empty"), "\(run)")
      run = try await publish(store, ["reseal", "--yes", "--allow-empty"])
      #expect(run.status == .exited(0), "\(run)")
    }
  }

  @Test func `a key whose record can't be read is changed by no verb, and each says what to do`() async throws {
    try await StoreBench.with { store in
      try await store.put(["other"])
      let id = KeyID(secret: "damaged".utf8)
      let record = Array("1 r 5".utf8)
      try await store.put(["damaged"])
      try await store.run("HSET", store.bucket(of: "damaged"), id.bytes, record)
      let due = DueRevocations(connection: store.connection, layout: store.layout)
      try await due.add(id, at: 5, unlessChangedAfter: 2)
      let list = "key,account\ndamaged,acme\nnew,acme\n"
      let runs: [([String], String)] = [
        (["put", "--key", "damaged", "--account", "acme"], ""),
        (["put", "--key", "damaged", "--account", "acme", "--reactivate", "--change-account"], ""),
        (["activate", "--key", "damaged"], ""), (["suspend", "--key", "damaged"], ""),
        (["revoke", "--key", "damaged"], ""), (["get", "damaged"], ""),
        (["rotate", "--key", "other", "--new-key", "damaged"], ""),
        (["rotate", "--key", "damaged", "--new-key", "new"], ""),
        (["purge", "--older-than", "1", "--yes"], ""), (["sync", "-", "--expect", "2"], list),
        (["import", "-", "--reactivate", "--expect", "2", "--seal"], list), (["revoke", "--due"], ""),
      ]
      for (arguments, input) in runs {
        let run = try await publish(store, arguments, input: input)
        #expect(run.status == .exited(1) && run.errors.contains("can't be read"), "\(arguments): \(run)")
        #expect(run.errors.contains("key-publisher verify") && run.errors.contains("reseal"), "\(arguments): \(run)")
        #expect(try await store.run("HGET", store.bucket(of: "damaged"), id.bytes).bytes() == record)
      }
      // The import wrote the other key, and didn't seal the store. What is due stays so.
      #expect(try await store.run("HEXISTS", store.bucket(of: "new"), KeyID(secret: "new".utf8).bytes).integer() == 1)
      #expect(try await store.run("HEXISTS", store.layout.meta, "sealed").integer() == 0)
      #expect(try await store.run("HLEN", store.layout.due).integer() == 1)
    }
  }

  @Test func `records of keys that were revoked long ago are removed, when somebody says so`() async throws {
    try await StoreBench.with { store in
      try await store.put(["active", "long ago", "lately"])
      _ = try await store.writer.apply([.set("long ago", .revoked), .set("lately", .suspended)])
      // As if it had been in 2024.
      try await store.run(
        "HSET", store.bucket(of: "long ago"), KeyID(secret: "long ago".utf8).bytes, "1 r 1710000000 acme")
      var run = try await publish(store, ["reseal", "--yes"])
      #expect(run.status == .exited(0), "\(run)")
      _ = try await store.writer.apply([.set("lately", .revoked)])
      run = try await publish(store, ["purge", "--older-than", "30"])
      #expect(run.status == .exited(1) && run.output.contains("1 keys were revoked") && run.errors.contains("--yes"))
      #expect(try await state(of: "long ago", in: store) == .revoked)
      run = try await publish(store, ["purge", "--before", "2024-03-01", "--yes"])
      #expect(run.status == .exited(0) && run.output.contains("0 keys"), "\(run)")
      run = try await publish(store, ["purge", "--before", "2024-03-10T00:00:00Z", "--yes"])
      #expect(run.status == .exited(0) && run.output.contains("1 records were deleted"), "\(run)")
      #expect(try await state(of: "long ago", in: store) == nil)
      #expect(try await state(of: "lately", in: store) == .revoked)
      #expect(try await state(of: "active", in: store) == .active)
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(0), "\(run)")
      let wrong = [
        [], ["--before", "yesterday"], ["--before", "2999-01-01"], ["--older-than", "-1"], ["--before", ""],
        ["--before", "2024-03-01", "--older-than", "3"],
      ]
      for arguments in wrong {
        run = try await publish(store, ["purge", "--yes"] + arguments)
        #expect(run.status == .exited(64), "\(arguments): \(run)")
      }
    }
  }

  @Test func `a Redis that isn't there, or won't have it, is 75 and says why`() async throws {
    let run = try await publish(nil, ["verify", "--redis", "redis://:s3cret@127.0.0.1:1"])
    #expect(run.status == .exited(75) && run.errors.contains("127.0.0.1:1") && !run.errors.contains("s3cret"), "\(run)")
    try await StoreBench.with { store in
      try await store.put(["a"])
      try await store.run("CONFIG", "SET", "maxmemory", "1mb")
      var run = try await publish(store, ["put", "--key", "k", "--account", "acme"])
      #expect(run.status == .exited(75) && run.errors.contains("OOM"), "\(run)")
      run = try await publish(store, ["revoke", "--key", "a"])
      #expect(run.status == .exited(0), "\(run)")
    }
  }
}
