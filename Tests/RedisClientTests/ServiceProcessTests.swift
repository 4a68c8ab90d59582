import Foundation
import RedisFixture
import Testing

@Suite struct ServiceProcessTests {
  @Test func `a program's lines, its environment and its exit status are seen`() async throws {
    let process = try await ServiceProcess.start(
      "/bin/sh", ["-c", "echo out $WORD; echo err $WORD >&2; exit 3"], environment: ["WORD": "rhubarb"])
    #expect(try await process.waitForLine(containing: "out") == "out rhubarb")
    #expect(try await process.waitForLine(containing: "err") == "err rhubarb")
    #expect(try await process.waitForExit() == .exited(3))
  }

  @Test func `a program can be asked to end, and can be killed`() async throws {
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    let asked = try await ServiceProcess.start("/bin/bash", ["-c", script])
    try await asked.waitForLine(containing: "ready")
    asked.terminate()
    #expect(try await asked.waitForExit() == .exited(7))
    let killed = try await ServiceProcess.start("/bin/sleep", ["100"])
    killed.kill9()
    #expect(try await killed.waitForExit() == .killed(signal: SIGKILL))
  }

  @Test func `a program that ends without the awaited line fails with what it printed`() async throws {
    let process = try await ServiceProcess.start("/bin/sh", ["-c", "echo something else; exit 1"])
    await #expect {
      try await process.waitForLine(containing: "ready")
    } throws: { error in
      "\(error)".contains("something else") && "\(error)".contains("exited with 1")
    }
  }

  @Test func `a program that prints without end doesn't block, and its latest lines are kept`() async throws {
    let process = try await ServiceProcess.start("/bin/bash", ["-c", "for i in {1..60000}; do echo $i; done; exit 5"])
    #expect(try await process.waitForExit() == .exited(5))
    try await process.waitForLine(containing: "60000")
    #expect(process.standardOutput.lines.count <= 20_000)
    #expect(process.standardOutput.lines.last == "60000")
  }
}
