import Foundation
import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite struct KeyListSpoolTests {
  static func spool(_ text: String) throws -> KeyListSpool {
    let folder = try TemporaryFolder()
    try Data(text.utf8).write(to: folder.url("list"))
    return try KeyListSpool.reading(try #require(FileHandle(forReadingAtPath: folder.path("list"))))
  }

  private func badList(_ text: String) -> KeyListSpool.BadList? {
    do {
      _ = try Self.spool(text)
    } catch {
      return error as? KeyListSpool.BadList
    }
    return nil
  }

  private func entries(_ spool: KeyListSpool) throws -> [KeyListEntry] {
    try (0..<KeyListSpool.partitionCount).flatMap { try spool.entries(ofPartition: $0) }
  }

  @Test func `every entry comes back, in the partition of its store buckets`() throws {
    var random = SeededGenerator.announced()
    var listed: [KeyListEntry] = []
    var text = "key,account,state,revision\n"
    for line in 2...5000 {
      let state = (KeyState.allCases + [nil]).randomElement(using: &random)!
      let revision = Bool.random(using: &random) ? nil : UInt64.random(in: 0...KeyRecord.revisionLimit, using: &random)
      let account = String(repeating: "é", count: Int.random(in: 1...127, using: &random))
      listed.append(
        KeyListEntry(
          key: KeyID(secret: "k\(line)".utf8), state: state, account: account, revision: revision, line: line))
      text += "k\(line),\(account),\(state?.word ?? ""),\(revision.map { "\($0)" } ?? "")\n"
    }
    let spool = try Self.spool(text)
    #expect(spool.entryCount == listed.count)
    #expect(Set(try entries(spool)) == Set(listed))
    for partition in 0..<KeyListSpool.partitionCount {
      for entry in try spool.entries(ofPartition: partition) {
        #expect(
          entry.key.bucket(of: StoreLayout.bucketCount) / (StoreLayout.bucketCount / KeyListSpool.partitionCount)
            == partition)
      }
    }
  }

  @Test func `a list without a last line feed isn't whole`() throws {
    for (text, line) in [("key,account\nk,acme", 2), ("key,account\nk,acme\nj", 3), ("key,acc", 1)] {
      let bad = try #require(badList(text))
      #expect(bad.problems.map(\.line) == [line] && bad.wasReadToEnd)
      #expect(bad.description.contains("cut off"))
    }
  }

  @Test func `a list without entries is a list`() throws {
    #expect(try Self.spool("key,account\n").entryCount == 0)
    #expect(try Self.spool("").entryCount == 0)
  }

  @Test func `a key listed twice alike is there once, and unlike is a problem that names both lines`() throws {
    let spool = try Self.spool("key,account\nk,acme\nj,acme\nk,acme\n")
    #expect(try entries(spool).count == 2)
    let bad = try #require(badList("key,account,state\ns3cret,acme,\nj,acme,\ns3cret,acme,revoked\nj,other,\n"))
    #expect(Set(bad.problems.map(\.line)) == [4, 5])
    #expect(bad.description.contains("line 4") && bad.description.contains("line 2 has this key"))
    #expect(!bad.description.contains("s3cret") && !bad.gaveUp)
  }

  @Test func `all bad lines are named, up to a limit`() throws {
    let some = try #require(badList("key,account\nk,acme\nbad\nj,acme\nbad\n"))
    #expect(some.problems.map(\.line) == [3, 5] && !some.gaveUp)
    let many = try #require(badList("key,account\n" + String(repeating: "bad\n", count: 1000)))
    #expect(many.problems.count == KeyListSpool.problemLimit && many.gaveUp)
  }

  @Test func `without a header nothing after it is complained about`() throws {
    let bad = try #require(badList("\n\ns3cret,acme\nother,acme\n"))
    #expect(bad.problems.map(\.line) == [3])
  }

  @Test func `a line that is too long ends the reading, and says so`() throws {
    let bad = try #require(badList("key,account\nbad\nk," + String(repeating: "x", count: 70_000) + "\nbad\n"))
    #expect(bad.problems.map(\.line) == [2, 3] && bad.gaveUp)
  }

  @Test func `a list that names one key for ever is given up`() throws {
    let folder = try TemporaryFolder()
    let text = "key,account\n" + String(repeating: "k,acme\n", count: 5_000)
    try Data(text.utf8).write(to: folder.url("list"))
    let file = try #require(FileHandle(forReadingAtPath: folder.path("list")))
    do {
      _ = try KeyListSpool.reading(file, partitionLimit: 100)
      Issue.record("it was taken")
    } catch let bad as KeyListSpool.BadList {
      #expect(bad.problems.map(\.line) == [102] && bad.gaveUp)
      #expect(bad.description.contains("more than 100 entries"))
    }
    try file.seek(toOffset: 0)
    #expect(try entries(KeyListSpool.reading(file, partitionLimit: 5_000)).count == 1)
  }

  @Test func `its files have no names, so nothing is left behind however it ends`() throws {
    let folder = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path
    let spool = try Self.spool("key,account\nk,acme\n")
    #expect(spool.entryCount == 1)
    let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { descriptor in
      // A descriptor that was closed in the meantime has no destination.
      try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(descriptor)")
    }
    let files = open.filter { $0.hasPrefix(folder) && $0.hasSuffix("(deleted)") }
    #expect(files.count >= KeyListSpool.partitionCount)
    withExtendedLifetime(spool) {}
  }
}
