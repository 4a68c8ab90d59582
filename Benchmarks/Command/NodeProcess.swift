// An ingest node as it runs in production, started for a benchmark of its mirror, and asked over HTTP by bare sockets.

import Foundation
import RedisFixture

/// A running ingest node.
struct NodeProcess {
  let process: ServiceProcess
  let port: Int
  private let admin: Int
  /// Nanoseconds from before it was started until `/readyz` was answered 200.
  private(set) var readyAfter: Int64 = 0

  /// Starts a node on this Redis, and returns when it is ready.
  static func start(_ redis: RedisServer, _ arguments: [String] = []) async throws -> NodeProcess {
    let (port, admin) = (try BlockingSocket.freePort(), try BlockingSocket.freePort())
    let began = Machine.now()
    let process = try await ServiceProcess.start(
      "ingest-node",
      [
        "--name", "bench", "--listen", "127.0.0.1:\(port)", "--admin", "127.0.0.1:\(admin)", "--grace", "0s",
        "--max-requests", "1000000000",
      ] + arguments,
      environment: ["SLUICE_REDIS": "\(redis.tcpEndpoint)"])
    var node = NodeProcess(process: process, port: port, admin: admin)
    while try !node.isReady() {
      guard process.status == nil, Machine.now() - began < 60_000_000_000 else {
        throw CannotMeasure("the node didn't become ready\n\(process.outputs)")
      }
      try await Task.sleep(for: .milliseconds(1))
    }
    node.readyAfter = Machine.now() - began
    return node
  }

  /// Ends it in good order.
  func stop() async throws {
    process.terminate()
    let status = try await process.waitForExit()
    guard status == .exited(0) else { throw CannotMeasure("the node \(status)\n\(process.outputs)") }
  }

  private func isReady() throws -> Bool {
    let socket: BlockingSocket
    do { socket = try BlockingSocket(port: admin) } catch {
      // It doesn't listen yet.
      return false
    }
    try socket.send(Array("GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".utf8))
    return try socket.receive().starts(with: Array("HTTP/1.1 200".utf8))
  }
}

/// One connection of a client that pushes, which blocks its thread.
final class BlockingPushes {
  private let socket: BlockingSocket

  init(port: Int) throws { socket = try BlockingSocket(port: port) }

  /// Pushes one byte.
  /// - Returns: The answer's status.
  func push(key: [UInt8]) throws -> Int {
    try socket.send(
      Array("POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Length: 1\r\nAuthorization: Bearer ".utf8) + key
        + Array("\r\n\r\nx".utf8))
    var answer = ""
    while true {
      let bytes = try socket.receive()
      guard !bytes.isEmpty else { throw CannotMeasure("the node closed the connection after: \(answer)") }
      answer += String(decoding: bytes, as: UTF8.self)
      guard let head = answer.range(of: "\r\n\r\n") else { continue }
      let lines = answer[..<head.lowerBound].split(separator: "\r\n")
      let length = lines.first { $0.lowercased().hasPrefix("content-length:") }.flatMap {
        Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces))
      }
      guard answer[head.upperBound...].utf8.count >= length ?? 0 else { continue }
      let words = lines.first?.split(separator: " ") ?? []
      guard words.count > 1, let status = Int(words[1]) else { throw CannotMeasure("no answer, but: \(answer)") }
      return status
    }
  }
}
