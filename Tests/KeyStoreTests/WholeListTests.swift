// Incomplete lists, with the real program: nothing of a list is applied if it was cut off or its export failed.

import Foundation
import KeyReplica
import RedisFixture
import Testing

@testable import KeyStore

@Suite(.timeLimit(.minutes(3))) struct WholeListTests {
  private static let keys = 1_000
  private static let lines = ["key,account"] + (0..<keys).map { "key\($0),acme" }
  private static let list = lines.joined(separator: "\n") + "\n"
  /// As `head -n` would cut it.
  private static func first(_ count: Int) -> String { lines[...count].joined(separator: "\n") + "\n" }

  @Test(arguments: ["exit 1", "kill -9 $$", "kill -TERM $$"])
  func `of an export that dies after a third of its lines nothing is taken`(ending: String) async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      try Data(Self.list.utf8).write(to: folder.url("list"))
      let command = "head -n 334 '\(folder.path("list"))'; echo 'the database is gone' >&2; \(ending)"
      for verb in ["import", "sync"] {
        let run = try await PublisherRun.of(store, [verb, "--command", command, "--seal"])
        #expect(run.status == .exited(75) && run.errors.contains("the command "), "\(run)")
        #expect(run.errors.contains("the database is gone") && run.errors.contains("Nothing was changed"), "\(run)")
        #expect(try await store.size() == 0)
      }
      let whole = "cat '\(folder.path("list"))'"
      let run = try await PublisherRun.of(store, ["import", "--command", whole, "--seal"])
      #expect(run.status == .exited(0) && run.output.contains("sealed with 1000 keys"), "\(run)")
    }
  }

  @Test func `a command that ends well with half a line, or with bad lines, is not a list`() async throws {
    try await StoreBench.with { store in
      var run = try await PublisherRun.of(
        store, ["import", "--seal", "--command", #"printf 'key,account\nsk_1,acme\nsk_2,acme-9'"#])
      #expect(run.status == .exited(65) && run.errors.contains("line 3: expected a line feed"), "\(run)")
      // One that would never end is ended.
      run = try await PublisherRun.of(store, ["import", "--seal", "--command", "yes"])
      #expect(run.status == .exited(65) && run.errors.contains("line 1: expected a header"), "\(run)")
      run = try await PublisherRun.of(store, ["import", "--command", "/nowhere/export"])
      #expect(run.status == .exited(75) && run.errors.contains("status 127"), "\(run)")
      #expect(try await store.size() == 0)
    }
  }

  @Test func `a last line that was cut off is refused in a file and in a pipe`() async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      let cut = Self.list.dropLast(6)
      try Data(cut.utf8).write(to: folder.url("list"))
      for arguments in [["import"], ["import", "--seal"], ["sync"], ["sync", "--dry-run"]] {
        let run = try await PublisherRun.of(store, arguments + [folder.path("list")])
        #expect(run.status == .exited(65) && run.errors.contains("line 1001: expected a line feed"), "\(run)")
      }
      let run = try await PublisherRun.of(store, ["import", "-", "--expect", "1000"], input: String(cut))
      #expect(run.status == .exited(65) && run.errors.contains("cut off"), "\(run)")
      #expect(try await store.size() == 0)
    }
  }

  @Test func `a pipe that could have been cut off needs the number of records`() async throws {
    try await StoreBench.with { store in
      for arguments in [["import", "-", "--seal"], ["sync", "-"], ["sync", "/dev/stdin"]] {
        let run = try await PublisherRun.of(store, arguments, input: Self.list)
        #expect(run.status == .exited(64) && run.errors.contains("--expect"), "\(run)")
        #expect(run.errors.contains("--command"), "\(run)")
      }
      for expectation in [["--expect", "1000"], ["--expect-at-least", "950"]] {
        let run = try await PublisherRun.of(store, ["import", "-", "--seal"] + expectation, input: Self.first(334))
        #expect(run.status == .exited(65) && run.errors.contains("found 334"), "\(run)")
        #expect(run.errors.contains("expected") && run.errors.contains("Export the list again"), "\(run)")
      }
      #expect(try await store.size() == 0)
      // What takes nothing away needs none.
      var run = try await PublisherRun.of(store, ["import", "-"], input: Self.first(10))
      #expect(run.status == .exited(0), "\(run)")
      run = try await PublisherRun.of(store, ["import", "-", "--seal", "--expect", "1000"], input: Self.list)
      #expect(run.status == .exited(0) && run.output.contains("sealed with 1000 keys"), "\(run)")
      // Below the guard: 39 of a thousand.
      run = try await PublisherRun.of(store, ["sync", "-", "--expect-at-least", "1000"], input: Self.first(961))
      #expect(run.status == .exited(65), "\(run)")
      #expect(try await store.state(of: "key999") == .active)
      run = try await PublisherRun.of(store, ["sync", "-", "--expect", "961"], input: Self.first(961))
      #expect(run.status == .exited(0) && run.output.contains("39 revoked"), "\(run)")
      #expect(try await store.state(of: "key999") == .revoked)
    }
  }

  @Test(arguments: [SIGKILL, SIGTERM, SIGINT])
  func `a command ends with its publisher, and so does all that it started`(signal: Int32) async throws {
    try await StoreBench.with { store in
      let folder = try TemporaryFolder()
      let command = "cd '\(folder.path)'; sleep 1000 & echo $$ $! >new; mv new pids; wait"
      let process = try await PublisherRun.begin(store, ["import", "--command", command])
      var pids: [pid_t] = []
      try await eventually("the command runs") {
        guard let text = try? String(contentsOfFile: folder.path("pids"), encoding: .utf8) else { return false }
        pids = text.split(whereSeparator: \.isWhitespace).compactMap { pid_t($0) }
        return pids.count == 2
      }
      #expect(pids.allSatisfy { kill($0, 0) == 0 })
      process.signal(signal)
      _ = try await process.waitForExit()
      try await eventually("both processes are gone") { pids.allSatisfy { Self.hasEnded($0) } }
    }
  }

  /// Gone, or a zombie that nobody has reaped.
  private static func hasEnded(_ pid: pid_t) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return true }
    return text.split(separator: ")").last?.hasPrefix(" Z") ?? true
  }

  @Test func `a file or a command, and not both or none`() async throws {
    for arguments in [["import"], ["import", "list", "--command", "true"], ["sync", "--command", ""]] {
      let run = try await PublisherRun.of(nil, arguments)
      #expect(run.status == .exited(64) && run.errors.contains("either a file"), "\(run)")
    }
    let run = try await PublisherRun.of(nil, ["import"], environment: ["SLUICE_COMMAND": "true"])
    #expect(run.status == .exited(64), "\(run)")
  }
}
