// Tests the API against its OpenAPI document with tools of other projects: a validator of the document, and a fuzzer
// that generates requests from the document and checks the answers. Also runs the documentation's examples unchanged.

import Foundation
import RedisFixture
import Testing

@Suite(.timeLimit(.minutes(10))) struct PublishingAPIContractTests {
  private static let set = "APIClients"
  private static let document = OperationsPage.path(
    "Sources/CommandSupport/Sluice.docc/Resources/publishing-api.openapi.json")

  @Test func `a validator accepts the OpenAPI document`() async throws {
    let run = try await ServiceProcess.start(
      try ClientTools.python(with: Self.set), ["-m", "openapi_spec_validator", "--schema", "3.1", Self.document])
    #expect(try await run.waitForExit(within: .seconds(60)) == .exited(0), "\(run.outputs)")
  }

  @Test func `schemathesis finds no answer that the document doesn't have`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 50)
    let api = try await PublishingAPI(at: deployment)
    let seed = SeededGenerator.announced().seed % (1 << 32)
    // It writes into the present folder.
    let run = try await ServiceProcess.start(
      "/usr/bin/env",
      [
        "-C", deployment.folder.path, try ClientTools.python(with: Self.set), "-m", "schemathesis.cli",
        "run", "\(api.url)/v1/openapi.json", "--url", api.url, "--header",
        "Authorization: Bearer \(PublishingAPI.token)", "--checks", "all", "--exclude-checks",
        // The fuzzer counts characters where the API counts bytes, and doesn't know the store's content.
        "positive_data_acceptance,use_after_free,ensure_resource_availability",
        "--max-examples", "40", "--seed", "\(seed)", "--generation-database", "none", "--no-color",
      ], environment: ["PYTHONDONTWRITEBYTECODE": "1", "HOME": deployment.folder.path])
    let status = try await run.waitForExit(within: .seconds(480))
    try await run.waitForOutputs()
    #expect(status == .exited(0), "seed \(seed)\n\(run.outputs)")
    let verify = try await deployment.run("key-publisher", ["verify"])
    #expect(verify.standardOutput.text.contains("all buckets match"))
    #expect(api.process.status == nil, "\(api.process.outputs)")
  }

  @Test(arguments: ["bash", "python", "ruby"])
  func `the documentation's examples work as they are`(language: String) async throws {
    let programs = ["bash": "/bin/bash", "python": "/usr/bin/python3", "ruby": "/usr/bin/ruby"]
    let program = try #require(programs[language])
    // No other test needs Ruby, so it may be missing.
    if language == "ruby", !FileManager.default.isExecutableFile(atPath: program) { return }
    let deployment = try await Deployment()
    try await deployment.publish(keys: 1)
    let api = try await PublishingAPI(at: deployment)
    let script = try OperationsPage.example(language, on: "Publishing.md")
    let file = deployment.folder.path("example")
    try Data((script + "\n").utf8).write(to: URL(fileURLWithPath: file))
    let run = try await ServiceProcess.start(
      program, [file],
      environment: [
        "SLUICE_API": api.url, "SLUICE_API_TOKEN": PublishingAPI.token, "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
      ])
    #expect(try await run.waitForExit() == .exited(0), "\(run.outputs)")
    try await run.waitForOutputs()
    #expect(run.standardOutput.text.contains("revoked"), "\(run.outputs)")
    let list = try await deployment.run("key-publisher", ["list", "--account", "acme"])
    #expect(list.standardOutput.text.contains(",acme,revoked,"), "\(list.outputs)")
  }
}
