// The verbs that read, those for all keys of an account, and rotate; with the real program.

import Foundation
import Hiredis
import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(3))) struct PublisherVerbTests {
  @Test func `what can be tried again is told from what can't`() async throws {
    try await StoreBench.with { store in
      let away = ["--redis", "redis://127.0.0.1:1"]
      for arguments in [
        ["get", "k"], ["list"], ["position"], ["put", "--key", "k", "--account", "acme"], ["revoke", "--key", "k"],
        ["suspend", "--account", "acme"], ["rotate", "--key", "k", "--new-key", "n"], ["seal"], ["verify"],
      ] {
        let run = try await PublisherRun.of(nil, arguments + away)
        #expect(run.status == .exited(75) && run.errors.contains("127.0.0.1:1") && run.output.isEmpty, "\(run)")
      }
      try await store.put(["other"])
      for arguments in [
        ["get", "k"], ["revoke", "--key", "k"], ["suspend", "--account", "nobody"],
        ["rotate", "--key", "k", "--new-key", "n"],
      ] {
        let run = try await PublisherRun.of(store, arguments)
        #expect(run.status == .exited(1) && run.output.isEmpty, "\(run)")
        #expect(run.errors.contains("the store doesn't know key") || run.errors.contains("has no key"), "\(run)")
      }
      let list = try await PublisherRun.of(store, ["import", "/nowhere/list"])
      #expect(list.status == .exited(66) && list.errors.contains("/nowhere/list"), "\(list)")
      try await store.run("CONFIG", "SET", "requirepass", "s3cret")
      let denied = try await PublisherRun.of(store, ["get", "other"])
      #expect(denied.status == .exited(77), "\(denied)")
    }
  }

  @Test func `a key is asked for in each way to name it`() async throws {
    try await StoreBench.with { store in
      let id = KeyID(secret: "s3cret".utf8)
      _ = try await store.writer.apply([
        KeyEdit(key: id, kind: .put(account: "acme", .suspended), revision: 17)
      ])
      for (arguments, input) in [
        (["get", "s3cret"], nil), (["get", "-"], "s3cret\n"), (["get", "--key", "s3cret"], nil),
        (["get", "--key-id", id.hex], nil),
      ] {
        let run = try await PublisherRun.of(store, arguments, input: input)
        #expect(run.status == .exited(0), "\(run)")
        #expect(run.output.hasPrefix("key \(id) of acme is suspended since 20"), "\(run)")
        #expect(run.output.hasSuffix("; changed at version 1; revision 17"), "\(run)")
      }
      let run = try await PublisherRun.of(store, ["get", "s3cret", "--json"])
      let json = try run.json
      #expect(json.keyId == id.hex && json.account == "acme" && json.state == "suspended", "\(run)")
      #expect(json.version == 1 && json.revision == 17 && json.since != nil, "\(run)")
      for arguments in [["get"], ["get", "a", "--key", "b"], ["get", "--key-id", "short"], ["get", "s p"]] {
        let run = try await PublisherRun.of(store, arguments)
        #expect(run.status == .exited(64), "\(run)")
      }
    }
  }

  @Test func `what is listed can be imported elsewhere, and is the same there`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<500).map { "key\($0)" })
      try await store.put(["x", "y"], account: #"odd, "quoted" & long"#)
      _ = try await store.writer.apply([.set("key1", .suspended), .set("key2", .revoked)])
      let folder = try TemporaryFolder()
      let whole = try await PublisherRun.of(store, ["list"])
      #expect(whole.status == .exited(0))
      try Data((whole.output + "\n").utf8).write(to: folder.url("list"))
      try await StoreBench.with { other in
        let run = try await PublisherRun.of(other, ["import", folder.path("list"), "--expect", "502"])
        #expect(run.status == .exited(0), "\(run)")
        let there = try await PublisherRun.of(other, ["list"])
        #expect(Set(there.output.split(separator: "\n")) == Set(whole.output.split(separator: "\n")))
      }
      var run = try await PublisherRun.of(store, ["list", "--account", #"odd, "quoted" & long"#, "--json"])
      #expect(run.output.split(separator: "\n").count == 2 && run.output.contains(#""state":"active""#), "\(run)")
      run = try await PublisherRun.of(store, ["list", "--state", "revoked"])
      let id = KeyID(secret: "key2".utf8).hex
      #expect(run.output == "key_id,account,state,revision,expires_at\n\(id),acme,revoked,,", "\(run)")
      run = try await PublisherRun.of(store, ["list", "--state", "away"])
      #expect(run.status == .exited(64), "\(run)")
    }
  }

  @Test func `all keys of an account are suspended, activated and revoked, and no others`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<600).map { "key\($0)" })
      try await store.put(["other"], account: "globex")
      _ = try await store.writer.apply([.set("key0", .revoked)])
      var run = try await PublisherRun.of(store, ["suspend", "--account", "acme", "--dry-run"])
      #expect(
        run.status == .exited(0) && run.output.contains("599 of 600 keys of acme would become suspended"), "\(run)")
      #expect(try await store.state(of: "key1") == .active)
      run = try await PublisherRun.of(store, ["suspend", "--account", "acme"])
      #expect(run.status == .exited(0), "\(run)")
      #expect(run.output.contains("599 of 600 keys of acme became suspended; 1 revoked key stays revoked"), "\(run)")
      run = try await PublisherRun.of(store, ["suspend", "--account", "acme", "--json"])
      #expect(try run.json.changed == .count(0) && run.json.keys == 600, "\(run)")
      #expect(try await store.state(of: "key599") == .suspended)
      run = try await PublisherRun.of(store, ["activate", "--account", "acme"])
      #expect(run.status == .exited(0), "\(run)")
      run = try await PublisherRun.of(store, ["revoke", "--account", "acme"])
      #expect(run.status == .exited(0) && run.output.contains("599 of 600"), "\(run)")
      #expect(try await store.state(of: "other") == .active)
      #expect(try await store.discrepancies() == [])
      // Somebody has agreed to these removals, so nodes don't hold them.
      #expect(try await store.run("HGET", store.layout.meta, "announced").string() == "1198")
      // A variable that is there for put doesn't widen anything.
      run = try await PublisherRun.of(store, ["revoke"], environment: ["SLUICE_ACCOUNT": "globex"])
      #expect(run.status == .exited(64), "\(run)")
      run = try await PublisherRun.of(store, ["suspend", "--key", "other", "--account", "globex"])
      #expect(run.status == .exited(64), "\(run)")
      #expect(try await store.state(of: "other") == .active)
      run = try await PublisherRun.of(store, ["suspend", "--key", "other"])
      #expect(run.status == .exited(0), "\(run)")
      run = try await PublisherRun.of(store, ["activate", "--key", "other", "--json"])
      #expect(try run.json.state == "active" && run.json.changed == .yes, "\(run)")
      run = try await PublisherRun.of(store, ["activate", "--key", "key1"])
      #expect(run.status == .exited(4) && run.errors.contains("is revoked, and stays so"), "\(run)")
    }
  }

  @Test func `a rotation adds the new key and revokes the old one in one step, or does nothing`() async throws {
    try await StoreBench.with { store in
      try await store.put(["old", "revoked"])
      try await store.put(["foreign"], account: "globex")
      _ = try await store.writer.apply([.set("revoked", .revoked)])
      let version = try await store.run("HGET", store.layout.meta, "version").string()
      for (old, new, words) in [
        ("old", "revoked", "was revoked before"), ("old", "foreign", "belongs to another account"),
        ("revoked", "new", "is revoked"),
      ] {
        let run = try await PublisherRun.of(store, ["rotate", "--key", old, "--new-key", new])
        #expect(run.status == .exited(4) && run.errors.contains(words), "\(run)")
      }
      #expect(try await store.run("HGET", store.layout.meta, "version").string() == version)
      #expect(try await store.state(of: "new") == nil)
      var run = try await PublisherRun.of(
        store, ["rotate", "--key", "old", "--new-key", "-", "--json"], input: "new\n")
      #expect(run.status == .exited(0), "\(run)")
      #expect(try run.json.account == "acme" && run.json.changed == .yes && run.json.revokedAt == nil)
      #expect(try await store.state(of: "new") == .active)
      #expect(try await store.state(of: "old") == .revoked)
      // The command is repeated, as by a caller that didn't get the answer.
      run = try await PublisherRun.of(store, ["rotate", "--key", "old", "--new-key", "new"])
      #expect(run.status == .exited(0) && run.output.contains("already"), "\(run)")
      run = try await PublisherRun.of(store, ["rotate", "--key", "new", "--new-key", "new"])
      #expect(run.status == .exited(64), "\(run)")
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `an old key is revoked when its time has come, unless it was changed since`() async throws {
    try await StoreBench.with { store in
      try await store.put(["old 1", "old 2", "old 3"].map { $0.replacing(" ", with: "-") })
      for (number, delay) in [(1, "1h"), (2, "1h"), (3, "2d")] {
        let run = try await PublisherRun.of(
          store, ["rotate", "--key", "old-\(number)", "--new-key", "new-\(number)", "--revoke-after", delay])
        #expect(run.status == .exited(0) && run.output.contains("works until 20"), "\(run)")
      }
      #expect(try await store.state(of: "new-1") == .active)
      _ = try await store.writer.apply([.set("old-2", .suspended)])
      var run = try await PublisherRun.of(store, ["revoke", "--due"])
      #expect(run.status == .exited(0) && run.output.hasPrefix("0 keys revoked"), "\(run)")
      #expect(run.output.contains("3 not due yet"), "\(run)")
      // As it is an hour later.
      let due = DueRevocations(connection: store.connection, layout: store.layout)
      let outcome = try await due.carryOut(now: Int64(Date().timeIntervalSince1970) + 3_700)
      #expect(outcome == DueRevocations.Outcome(revoked: 1, left: 1, waiting: 1))
      #expect(try await store.state(of: "old-1") == .revoked)
      #expect(try await store.state(of: "old-2") == .suspended)
      #expect(try await store.state(of: "old-3") == .active)
      run = try await PublisherRun.of(store, ["revoke", "--due", "--json"])
      #expect(try run.json.waiting == 1 && run.json.revoked == 0, "\(run)")
    }
  }

  @Test func `no verb takes a confirmation from the environment`() async throws {
    try await StoreBench.with { store in
      let environment = [
        "YES", "ALL", "SEAL", "REACTIVATE", "CHANGE_ACCOUNT", "ALLOW_EMPTY", "DROP_UNREADABLE", "DUE",
      ].reduce(into: [:]) { $0["SLUICE_\($1)"] = "1" }
      var run = try await PublisherRun.of(store, ["seal"], environment: environment)
      #expect(run.status == .exited(1) && run.errors.contains("--allow-empty"), "\(run)")
      try await store.put(["active", "revoked"])
      _ = try await store.writer.apply([.set("revoked", .revoked)])
      run = try await PublisherRun.of(store, ["purge", "--before", "2999-01-01"], environment: environment)
      #expect(run.status == .exited(64), "\(run)")
      try await store.run("HSET", store.bucket(of: "revoked"), KeyID(secret: "revoked".utf8).bytes, "1 r 17 acme")
      run = try await PublisherRun.of(store, ["purge", "--older-than", "1"], environment: environment)
      #expect(run.status == .exited(1) && run.errors.contains("use --yes"), "\(run)")
      run = try await PublisherRun.of(store, ["reseal"], environment: environment)
      #expect(run.status == .exited(1) && run.errors.contains("use --yes"), "\(run)")
      run = try await PublisherRun.of(
        store, ["put", "--key", "revoked", "--account", "acme"], environment: environment)
      #expect(run.status == .exited(4), "\(run)")
      run = try await PublisherRun.of(store, ["import", "-"], input: "key,account\nk,acme\n", environment: environment)
      #expect(run.status == .exited(0) && !run.output.contains("sealed"), "\(run)")
      #expect(try await store.state(of: "revoked") == .revoked)
      guard case .found(let position) = try await store.connection.storePosition(store.layout) else {
        Issue.record("there is no store")
        return
      }
      #expect(!position.sealed)
    }
  }

  /// A command of the argument parser's own description of the program.
  private struct Command: Decodable {
    struct Argument: Decodable {
      struct Name: Decodable { var name: String }
      var kind: String
      var names: [Name]?
      var abstract: String?
    }

    var commandName: String
    var arguments: [Argument]?
    var subcommands: [Command]?
    var all: [Command] { [self] + (subcommands ?? []).flatMap(\.all) }
  }

  private struct Description: Decodable { var command: Command }

  @Test func `each option's help names its variable, or says that there is none`() async throws {
    let run = try await PublisherRun.of(nil, ["--experimental-dump-help"])
    let commands = try JSONDecoder().decode(Description.self, from: Data(run.output.utf8)).command.all
    var named: Set<String> = []
    for command in commands {
      for argument in command.arguments ?? [] where argument.kind != "positional" {
        let name = argument.names?.map(\.name).max { $0.count < $1.count } ?? ""
        guard name != "help", name != "version" else { continue }
        named.insert(name)
        let help = argument.abstract ?? ""
        #expect(
          help.contains("environment: SLUICE_") || help.hasSuffix("(only on the command line)"),
          "\(command.commandName) --\(name): \(help)")
      }
    }
    #expect(named.isSuperset(of: ["dry-run", "due", "print-install", "name", "yes", "redis"]), "\(named.sorted())")
  }
}
