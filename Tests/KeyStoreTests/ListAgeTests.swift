// A list is as old as its beginning, by the real program: what the store changed since then stays.

import Foundation
import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(2))) struct ListAgeTests {
  private func list(_ keys: Range<Int>) -> String {
    "key,account,state\n" + keys.map { "key\($0),acme,active\n" }.joined()
  }

  @Test func `a key that is put while the list is made stays, and so do others that were changed`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      let folder = try TemporaryFolder()
      try Data(list(0..<99).utf8).write(to: folder.url("list"))
      // The export's own snapshot is taken before the others work.
      let program = PublisherRun.program
      let command = """
        cat '\(folder.path("list"))' && '\(program)' put --key new --account acme >&2 &&
        '\(program)' suspend --key key1 >&2 && '\(program)' revoke --key key2 >&2
        """
      let run = try await PublisherRun.of(store, ["sync", "--command", command])
      #expect(run.status == .exited(0) && run.output.contains("1 revoked"), "\(run)")
      // key1 and key2, which the list has as active; and the new one, which it doesn't have.
      #expect(run.output.contains("3 keys changed since the list began: left as they are"), "\(run)")
      #expect(try await store.state(of: "new") == .active)
      #expect(try await store.state(of: "key1") == .suspended)
      #expect(try await store.state(of: "key2") == .revoked)
      #expect(try await store.state(of: "key99") == .revoked)
      #expect(try await store.discrepancies() == [])
    }
  }

  @Test func `a file is as old as --as-of says`() async throws {
    try await StoreBench.with { store in
      var run = try await PublisherRun.of(store, ["position"])
      #expect(run.status == .exited(0) && run.output == "0", "\(run)")
      try await store.put((0..<100).map { "key\($0)" })
      run = try await PublisherRun.of(store, ["position"])
      #expect(run.status == .exited(0) && run.output == "100", "\(run)")
      let folder = try TemporaryFolder()
      try Data(list(0..<99).utf8).write(to: folder.url("list"))
      try await store.put(["new"])
      run = try await PublisherRun.of(store, ["sync", folder.path("list"), "--as-of", "102"])
      #expect(run.status == .exited(64) && run.errors.contains("at most 101, the store's version"), "\(run)")
      run = try await PublisherRun.of(store, ["sync", folder.path("list"), "--as-of", "100"])
      #expect(run.status == .exited(0) && run.output.contains("1 key changed since the list began"), "\(run)")
      #expect(try await store.state(of: "new") == .active)
      #expect(try await store.state(of: "key99") == .revoked)
      // Without --as-of a list counts as new.
      run = try await PublisherRun.of(store, ["sync", folder.path("list")])
      #expect(run.status == .exited(0) && run.output.contains("1 revoked"), "\(run)")
      #expect(try await store.state(of: "new") == .revoked)
    }
  }

  @Test func `a store that was rebuilt while the list was made takes nothing of it`() async throws {
    try await StoreBench.with { store in
      try await store.put(["key1", "key2"])
      // A bucket's count is wrong, so that there is something to rebuild.
      try await store.run(
        "HSET", store.bucket(of: "key1"), StoreLayout.summaryField,
        "7 \(String(repeating: "0", count: 32)) 1")
      let command = "printf 'key,account\\nkey1,acme\\n' && '\(PublisherRun.program)' reseal --yes >&2"
      let run = try await PublisherRun.of(store, ["sync", "--command", command, "--max-revoked", "100"])
      #expect(run.status == .exited(75) && run.errors.contains("rebuilt"), "\(run)")
      #expect(try await store.state(of: "key2") == .active)
    }
  }

  @Test func `a dry run shows what would be done, and changes nothing`() async throws {
    try await StoreBench.with { store in
      try await store.put((0..<100).map { "key\($0)" })
      _ = try await store.writer.apply([.set("key3", .suspended), .set("key4", .revoked)])
      let before = try await store.run("HGETALL", store.layout.meta)
      let size = try await store.size()
      let text =
        "key,account,state\n" + (0..<97).map { "key\($0),acme,\($0 == 5 ? "suspended" : "active")\n" }.joined()
        + (0..<7).map { "new\($0),globex,\n" }.joined()
      let arguments = ["sync", "-", "--dry-run"]
      var run = try await PublisherRun.of(store, arguments, input: text)
      #expect(run.status == .exited(0), "\(run)")
      #expect(
        run.output.hasPrefix(
          "104 records: adds 7, activates 1, suspends 1, revokes 3, moves 0 to another account; 94 stay. Nothing was changed"
        ),
        "\(run)")
      let id = KeyID(secret: "key5".utf8)
      #expect(run.output.contains("would suspend: \(id) of acme") && run.output.contains("would add: "), "\(run)")
      // A sample, and not all of them.
      #expect(run.output.components(separatedBy: "of globex").count == 1 + ListEffects.exampleLimit, "\(run)")
      #expect(run.output.contains("1 key revoked in the store: left as they are"), "\(run)")
      run = try await PublisherRun.of(store, arguments + ["--json"], input: text)
      #expect(try run.json.added == 7 && run.json.revoked == 3 && run.json.dryRun == true, "\(run)")
      #expect(try await store.run("HGETALL", store.layout.meta) == before)
      #expect(try await store.size() == size)
      // The guard speaks here too.
      run = try await PublisherRun.of(store, arguments + ["--max-revoked", "1"], input: text)
      #expect(run.status == .exited(3) && run.errors.contains("--max-revoked"), "\(run)")
      // The result equals the preview, which was printed before.
      run = try await PublisherRun.of(store, ["sync", "-", "--expect", "104", "--json"], input: text)
      #expect(run.status == .exited(0) && run.errors.contains("104 records: adds 7, activates 1, suspends 1"), "\(run)")
      #expect(try run.json.added == 7 && run.json.changed == .count(12) && run.json.dryRun == false, "\(run)")
      #expect(try await store.discrepancies() == [])
    }
  }
}
