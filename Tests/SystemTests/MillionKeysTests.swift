import Foundation
import RedisFixture
import Testing

/// The size that Sluice is made for. Only with optimised executables: it is about them.
struct MillionKeysTests {
  @Test(.enabled(if: ProcessInfo.processInfo.environment["SLUICE_BIN"] != nil, "needs SLUICE_BIN with a release build"))
  func `a million keys are imported in one go and mirrored completely`() async throws {
    let deployment = try await Deployment()
    let count = 1_000_000
    let list = deployment.folder.path("million.csv")
    let awk =
      "BEGIN { print \"key,account\"; for (i = 0; i < \(count); i++) printf \"sk_test_%d,account-%d\\n\", i, i % 20000 }"
    let made = try await ServiceProcess.start("/bin/sh", ["-c", "awk '\(awk)' > '\(list)'"])
    #expect(try await made.waitForExit(within: .seconds(60)) == .exited(0))

    let clock = ContinuousClock()
    let started = clock.now
    let published = try await deployment.run("key-publisher", ["import", list, "--seal"], within: .seconds(300))
    #expect(published.standardOutput.text.contains("1000000 changed"))
    let imported = clock.now
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady(within: .seconds(60))
    let mirrored = clock.now
    let status = try await node.get("/status").body
    #expect(status.contains(/"verified" ?: ?1024/))
    #expect(status.contains(/"keys" ?: ?1000000/))
    for number in [0, 1, 499_999, count - 1] { #expect(try await node.push(key: Deployment.key(number)).status == 202) }
    #expect(try await node.push(key: Deployment.key(count)).status == 401)
    let memory = try String(contentsOfFile: "/proc/\(node.process.pid)/status", encoding: .utf8)
    let peak = try #require(memory.firstMatch(of: /VmHWM:\s*(\d+)/)?.1)
    print(
      "a million keys: imported in \(imported - started), mirrored in \(mirrored - imported), node's peak memory \(peak) kB"
    )
  }
}
