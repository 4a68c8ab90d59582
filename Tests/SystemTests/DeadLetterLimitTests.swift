import Foundation
import Hiredis
import NIOHTTP1
import RedisFixture
import Testing

/// An account whose payloads can't be stored is rejected before its dead letters fill Redis. Other accounts aren't
/// affected.
struct DeadLetterLimitTests {
  private struct NeverRefused: Error {}

  /// Looks like gzip, and isn't.
  private func undecodable(_ bytes: Int, using generator: inout SeededGenerator) -> [UInt8] {
    [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3] + (0..<bytes).map { _ in UInt8.random(in: 0...255, using: &generator) }
  }

  private func number(_ name: String, in status: String) throws -> Int {
    let pattern = try Regex("\"\(name)\" : ([0-9]+)", as: (Substring, Substring).self)
    return try #require(try pattern.firstMatch(in: status).flatMap { Int($0.1) }, "\(name) in \(status)")
  }

  /// How an account's payloads come to be dead letters.
  enum Flaw: CaseIterable {
    /// They say that they are gzip, and aren't.
    case undecodable
    /// The receiver that they are forwarded to doesn't want such large ones.
    case unwanted
  }

  /// Takes what isn't large.
  /// - Parameter status: The answer to the rest. They may be sent again after five minutes.
  private func startReceiver(status: Int = 400) async throws -> (process: ServiceProcess, url: String) {
    let process = try await ServiceProcess.start(
      "/usr/bin/env",
      [
        "python3", "-c",
        """
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        class Receiver(BaseHTTPRequestHandler):
          protocol_version = 'HTTP/1.1'
          def do_POST(self):
            size = len(self.rfile.read(int(self.headers['content-length'])))
            self.send_response(\(status) if size > 250_000 else 200)
            self.send_header('retry-after', '300')
            self.send_header('content-length', '0')
            self.end_headers()
          def log_message(self, *words): pass
        server = ThreadingHTTPServer(('127.0.0.1', 0), Receiver)
        print('port', server.server_port, flush=True)
        server.serve_forever()
        """,
      ])
    let line = try await process.waitForLine(containing: "port ")
    return (process, "http://127.0.0.1:\(line.split(separator: " ").last ?? "")/")
  }

  @Test(arguments: Flaw.allCases)
  func `who sends only what can't be stored is told so, and others are taken all the while`(flaw: Flaw)
    async throws
  {
    var generator = SeededGenerator.announced()
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10, accounts: 10)
    try await deployment.redis("CONFIG", "SET", "maxmemory", "64mb")
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let receiver = flaw == .unwanted ? try await startReceiver() : nil
    let worker = try await deployment.startWorker("worker-1", receiver.map { ["--sink", $0.url] } ?? [])
    let body = flaw == .undecodable ? undecodable(100 << 10, using: &generator) : [UInt8](repeating: 7, count: 500_000)
    let headers: HTTPHeaders = flaw == .undecodable ? ["content-encoding": "gzip"] : [:]

    var told: Node.Answer?
    var taken = 0
    // Much more than there is room for.
    for turn in 0..<2_000 where told == nil {
      let answer = try await node.push(body, key: Deployment.key(0), headers: headers)
      if answer.status == 202 { taken += 1 }
      // Before that it may have filled the queue faster than the worker empties it.
      if answer.member("reason") == "too_many_dead_letters" { told = answer }
      #expect(try await node.push(key: Deployment.key(1 + turn % 9)).status == 202)
    }
    let answer = try #require(told, "\(taken) were taken, and it was never told")
    #expect(answer.status == 429)
    let wait = try #require(answer.headers.first(name: "retry-after").flatMap { Int($0) })
    #expect((48...60).contains(wait))
    for turn in 0..<50 { #expect(try await node.push(key: Deployment.key(1 + turn % 9)).status == 202) }
    #expect(try await node.push(body, key: Deployment.key(0)).status == 429)

    let status = try await node.get("/status").body
    #expect(try number("refused_accounts", in: status) == 1)
    #expect(try number("limited", in: status) >= 2)
    #expect(try number("dead_bytes", in: status) > number("room_bytes", in: status) / 20)
    #expect(try await node.get("/metrics").body.contains("sluice_queue_shard_refused_accounts{shard=\"0\"} 1"))
    #expect(
      node.process.outputs.split(separator: "\n").count { $0.contains("account over its dead-letter limit") } == 1)
    var page = ""
    try await eventually("the node has reported it") {
      page = try await deployment.run("sync-status", [], expecting: nil).outputs
      return page.contains("pushes of account-0 aren't accepted")
    }
    #expect(
      page.contains(
        "IN SYNC, WITH PROBLEMS: 1 of 1 node in sync\n  wrong: pushes of account-0 aren't accepted (too_many_dead_letters): it has "
      ))
    #expect(page.contains("See sync-status dead --account account-0, then requeue or discard them"))
    try await deployment.run("sync-status", [], expecting: .exited(1))

    try await deployment.run("sync-status", ["dead", "discard", "--account", "account-0", "--yes"])
    try await eventually("it is taken again") { try await node.push(key: Deployment.key(0)).status == 202 }
    try await eventually("all is well") {
      let run = try await deployment.run("sync-status", [], expecting: nil)
      return run.outputs.contains("\nIN SYNC: 1 of 1 node in sync") || run.outputs.hasPrefix("IN SYNC: 1 of 1")
    }
    try await deployment.run("sync-status", [])
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    receiver?.process.kill9()
  }

  /// Pushes for account-0 until it is refused on each connection, with no worker that could take anything.
  /// - Returns: How many were taken.
  private func fill(_ node: Node, with body: [UInt8]) async throws -> Int {
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<16 {
        group.addTask {
          for turn in 0..<200 {
            let answer = try await node.push(body, key: Deployment.key(0))
            if answer.status != 202 { return turn }
          }
          throw NeverRefused()
        }
      }
      return try await group.reduce(0, +)
    }
  }

  @Test func `what one account had in the queue may all become dead letters, and others are taken on`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10, accounts: 10)
    try await deployment.redis("CONFIG", "SET", "maxmemory", "64mb")
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    // Just above a size of the allocator, so that each takes a quarter more of Redis's memory.
    let body = [UInt8](repeating: 7, count: 263_000)
    let taken = try await fill(node, with: body)
    #expect(taken > 20)
    let receiver = try await startReceiver()
    let worker = try await deployment.startWorker("worker-1", ["--sink", receiver.url])
    try await eventually("all are dead letters") {
      try await deployment.deadLetters() == taken
    }
    for turn in 0..<200 { #expect(try await node.push(key: Deployment.key(1 + turn % 9)).status == 202) }
    try await eventually("the account is told") {
      try await node.push(key: Deployment.key(0)).member("reason") == "too_many_dead_letters"
    }
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    receiver.process.kill9()
  }

  @Test func `what one account had in the queue may all wait for a retry, and others are taken on`() async throws {
    let deployment = try await Deployment()
    try await deployment.publish(keys: 10, accounts: 10)
    try await deployment.redis("CONFIG", "SET", "maxmemory", "64mb")
    let node = try await deployment.startNode("node-1")
    try await node.becomesReady()
    let body = [UInt8](repeating: 7, count: 263_000)
    let taken = try await fill(node, with: body)
    #expect(taken > 20)
    let receiver = try await startReceiver(status: 429)
    let worker = try await deployment.startWorker("worker-1", ["--sink", receiver.url])
    // The worker slows down, since nothing else is accepted meanwhile.
    try await eventually(within: .seconds(60), "most wait for a retry") {
      try await deployment.redis.run("ZCARD", "sluice:{queue-0}:later").integer() * 2 > taken
    }
    try await eventually("the account is told") {
      try await node.push(key: Deployment.key(0)).member("reason") == "too_many_retries"
    }
    // Another account, which makes nearly all pushes meanwhile.
    for _ in 0..<1_000 { #expect(try await node.push(key: Deployment.key(1)).status == 202) }
    #expect(
      node.process.outputs.contains("account over its limit for payloads that wait for a retry"))
    worker.terminate()
    #expect(try await worker.waitForExit() == .exited(0))
    receiver.process.kill9()
  }
}
