// Nodes under Callgrind that take pushes of 1 KiB. Their Redis and those who push run as ever.
//
// Two nodes live beside each other, of which one takes few pushes and the other many, and they count for the same time: so what a node does by
// itself, with its mirror, its queue and for the fleet, is the same for both and drops out. From one connection each push is a batch of its own; from many those that
// come while a batch is on its way make the next one. How many these are depends on the order in which threads and processes run, but with all
// connections answered before any pushes again, hardly.

import Foundation
import KeyStore
import NIOPosix
import RedisFixture

/// What nodes are given to do.
struct PushesUnderCallgrind: Sendable {
  let name: String
  /// What one push is.
  let what: String
  let connections: Int
  let pushes: (few: Int, many: Int)

  static let all = [
    PushesUnderCallgrind(
      name: "push", what: "a push of 1 KiB that is accepted, one at a time", connections: 1, pushes: (500, 8_500)),
    PushesUnderCallgrind(
      name: "push-64", what: "the same, from 64 connections at a time", connections: 64, pushes: (640, 12_800)),
  ]

  /// The instructions of one push.
  func instructions() async throws -> Int {
    async let first = NodeUnderCallgrind.start()
    async let second = NodeUnderCallgrind.start()
    let (few, many) = try await (first, second)
    async let fewCounts: Void = few.beginCounting()
    async let manyCounts: Void = many.beginCounting()
    _ = try await (fewCounts, manyCounts)
    async let tookFew: Void = few.take(pushes.few, from: connections)
    async let tookMany: Void = many.take(pushes.many, from: connections)
    _ = try await (tookFew, tookMany)
    few.terminate()
    many.terminate()
    return try await (many.instructions() - few.instructions()) / (pushes.many - pushes.few)
  }
}

/// A node that counts its instructions.
private struct NodeUnderCallgrind {
  private let store: PublishedStore
  private let node: Callgrind
  private let port: Int

  /// Starts one and waits until it accepts pushes.
  static func start() async throws -> NodeUnderCallgrind {
    let store = try await PublishedStore.make(keys: 100)
    let node = try await Callgrind.start(
      "ingest-node",
      [
        "--name", "bench", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--grace", "0s", "--threads", "1",
        "--max-requests", "1000000000",
      ],
      environment: ["SLUICE_REDIS": "\(store.redis.tcpEndpoint)"], counts: false)
    // Lines of its log, since to ask it would have it do more or less work.
    for line in ["mirror complete", "queue durability"] {
      try await node.process.waitForLine(containing: line, within: .seconds(120))
    }
    let line = try await node.process.waitForLine(containing: "listening for pushes", within: .seconds(120))
    guard let port = line.firstMatch(of: /address=127\.0\.0\.1:(\d+)/).flatMap({ Int($0.output.1) }) else {
      throw CannotMeasure("the node doesn't say where it listens: \(line)")
    }
    return NodeUnderCallgrind(store: store, node: node, port: port)
  }

  /// Pushes, and waits until all pushes are accepted.
  func take(_ pushes: Int, from connections: Int) async throws {
    try await NIOThreadPool.singleton.runIfActive { [port] in
      let clients = try (0..<connections).map { _ in try Client(port: port) }
      for _ in 0..<pushes / connections {
        for client in clients { try client.push() }
        for client in clients { try client.takeAcceptance() }
      }
    }
  }

  func beginCounting() async throws { try await node.beginCounting() }

  func terminate() { node.process.terminate() }

  /// What it has carried out.
  func instructions() async throws -> Int {
    let instructions = try await node.instructions()
    try await store.remove()
    return instructions
  }
}

/// One connection to the node.
private final class Client {
  private let socket: BlockingSocket

  init(port: Int) throws {
    socket = try BlockingSocket(port: port)
    try socket.giveUp(afterSeconds: 30)
  }

  private static let request: [UInt8] =
    Array("POST /v1/events HTTP/1.1\r\nHost: ingest.example.com\r\nAuthorization: Bearer ".utf8) + SampleKeys.secret(50)
    + Array("\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n".utf8)
    + [UInt8](repeating: UInt8(ascii: "x"), count: 1024)

  func push() throws { try socket.send(Self.request) }

  func takeAcceptance() throws {
    var answer: [UInt8] = []
    // Its body is a JSON object, and the only one.
    while answer.last != UInt8(ascii: "}") {
      let bytes = try socket.receive()
      guard !bytes.isEmpty else { throw CannotMeasure("the node closed a connection") }
      answer += bytes
    }
    guard answer.starts(with: "HTTP/1.1 202 ".utf8) else {
      throw CannotMeasure("a push was answered otherwise: \(String(decoding: answer, as: UTF8.self))")
    }
  }
}
