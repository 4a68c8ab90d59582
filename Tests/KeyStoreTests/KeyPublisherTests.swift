// The real program: exit statuses, standard input, environment, and what it prints.

import Foundation
import Hiredis
import KeyReplica
import RedisClient
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct KeyPublisherTests {
  private struct Outcome {
    let status: RedisFixture.ExitStatus
    let output: String
    let errors: String
  }

  /// Runs it to its end on a bench's Redis, with an input of the shell's making if one is given.
  private func publish(
    _ store: StoreBench?, _ arguments: [String], input: String? = nil, environment: [String: String] = [:]
  ) async throws -> Outcome {
    var environment = environment
    if let store { environment["SLUICE_REDIS"] = store.redis.endpoint.description }
    let process: ServiceProcess
    if let input {
      environment["INPUT"] = input
      let program = ServiceProcess.folder.appendingPathComponent("key-publisher").path
      process = try await ServiceProcess.start(
        "/bin/sh", ["-c", #"printf '%s' "$INPUT" | "$0" "$@""#, program] + arguments, environment: environment)
    } else {
      process = try await ServiceProcess.start("key-publisher", arguments, environment: environment)
    }
    let status = try await process.waitForExit()
    try await eventually("all output is there") {
      process.standardOutput.isComplete && process.standardError.isComplete
    }
    return Outcome(
      status: status, output: process.standardOutput.text, errors: process.standardError.text)
  }

  private func state(of secret: String, in store: StoreBench) async throws -> KeyState? {
    let record = try await store.run("HGET", store.bucket(of: secret), KeyID(secret: secret.utf8).bytes).bytesOrNull()
    return try record.map { try KeyRecord(decoding: $0).state }
  }

  @Test func `a list is imported from a file, sealed and verified`() async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      let text = "key,account\n" + (0..<500).map { "key\($0),acme\n" }.joined()
      try Data(text.utf8).write(to: folder.url("list.csv"))
      var run = try await publish(store, ["import", folder.path("list.csv"), "--seal"])
      #expect(run.status == .exited(0), "\(run)")
      #expect(run.output.contains("500 entries: 500 changed") && run.output.contains("sealed with 500 keys"))
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(0) && run.output.contains("sealed   yes"), "\(run)")
      #expect(try await store.discrepancies() == [])

      try await store.run("DEL", store.bucket(of: "key7"))
      run = try await publish(store, ["verify"])
      #expect(run.status == .exited(1) && run.errors.contains("the buckets have"), "\(run)")
      run = try await publish(store, ["seal"])
      #expect(run.status == .exited(1) && run.errors.contains("isn't sealed"), "\(run)")
    }
  }

  @Test func `a list comes by standard input, and nothing of a bad one is applied`() async throws {
    try await StoreBench.with { store in
      var run = try await publish(store, ["import", "-"], input: "key,account\ns3cret,acme\nbroken\n")
      #expect(run.status == .exited(1) && run.errors.contains("line 3") && run.errors.contains("nothing was changed"))
      #expect(!run.errors.contains("s3cret"))
      let size = try await store.run("DBSIZE").integer()
      #expect(size == 0)
      run = try await publish(store, ["import", "-"], input: #"{"key":"s3cret","account":"acme"}"#)
      #expect(run.status == .exited(0), "\(run)")
      #expect(try await state(of: "s3cret", in: store) == .active)
      run = try await publish(store, ["import", "/nowhere/list"])
      #expect(run.status == .exited(1) && run.errors.contains("/nowhere/list"))
    }
  }

  @Test func `a sync respects its guard`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      let list = "key,account\n" + (0..<90).map { "key\($0),acme\n" }.joined()
      var run = try await publish(store, ["sync", "-"], input: list)
      #expect(run.status == .exited(1) && run.errors.contains("10 of 100 keys"), "\(run)")
      #expect(try await state(of: "key95", in: store) == .active)
      run = try await publish(store, ["sync", "-"], input: list, environment: ["SLUICE_MAX_REVOKED": "10"])
      #expect(run.status == .exited(0) && run.output.contains("10 revoked"), "\(run)")
      #expect(try await state(of: "key95", in: store) == .revoked)
      // An empty list would revoke everybody.
      run = try await publish(store, ["sync", "-"], input: "key,account\n")
      #expect(run.status == .exited(1), "\(run)")
      #expect(try await state(of: "key1", in: store) == .active)
      run = try await publish(store, ["sync", "-", "--max-revoked", "101"], input: "")
      #expect(run.status == .exited(64), "\(run)")
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
      run = try await publish(store, ["put"], environment: ["SLUICE_KEY": "s3cret", "SLUICE_ACCOUNT": "acme"])
      #expect(run.status == .exited(0))
      #expect(try await state(of: "s3cret", in: store) == .active)
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
      run = try await publish(store, ["seal"], environment: ["SLUICE_ALLOW_EMPTY": "true"])
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
      run = try await publish(store, ["reseal"], environment: ["SLUICE_YES": "true", "SLUICE_ALLOW_EMPTY": "true"])
      #expect(run.status == .exited(0), "\(run)")
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
      #expect(run.status == .exited(0) && run.output.contains("1 records were removed"), "\(run)")
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

  @Test func `a Redis that isn't there, or won't have it, is 1 and says why`() async throws {
    let run = try await publish(nil, ["verify", "--redis", "redis://:s3cret@127.0.0.1:1"])
    #expect(run.status == .exited(1) && run.errors.contains("127.0.0.1:1") && !run.errors.contains("s3cret"), "\(run)")
    try await StoreBench.with { store in
      try await store.put(["a"])
      try await store.run("CONFIG", "SET", "maxmemory", "1mb")
      var run = try await publish(store, ["put", "--key", "k", "--account", "acme"])
      #expect(run.status == .exited(1) && run.errors.contains("OOM"), "\(run)")
      run = try await publish(store, ["revoke", "--key", "a"])
      #expect(run.status == .exited(0), "\(run)")
    }
  }
}
