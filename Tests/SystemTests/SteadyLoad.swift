// Clients that push on keep-alive connections one request after the other, and try nothing twice: what a balancer and the nodes behind it
// owe to the dullest of clients. Each payload is one of its kind, so that it can be found in the sink, once.

import Foundation
import RedisFixture
import Synchronization

/// Pushes that continue until they are stopped, and their results.
final class SteadyLoad: Sendable {
  struct Tally: Sendable {
    /// How often each status was the answer to a key that is active.
    var valid: [Int: Int] = [:]
    /// The same of keys that nobody has.
    var unknown: [Int: Int] = [:]
    /// Answers that shouldn't have come, and requests that weren't answered, in words.
    var failures: [String] = []
    /// The payloads that were acknowledged.
    var acknowledged: Set<String> = []
    /// Connections made, the first ones included.
    var connections = 0

    var requests: Int { valid.values.reduce(0, +) + unknown.values.reduce(0, +) }
  }

  private let tally = Mutex(Tally())
  private let isEnding = Mutex(false)
  private let requestsPerConnection: Int
  private let connect: @Sendable () async throws -> WireConnection

  /// - Parameters:
  ///   - requestsPerConnection: After so many a client makes a new connection; as many as it likes by default.
  ///   - connect: Makes one more connection.
  init(requestsPerConnection: Int = .max, connect: @escaping @Sendable () async throws -> WireConnection) {
    self.requestsPerConnection = requestsPerConnection
    self.connect = connect
  }

  var current: Tally { tally.withLock { $0 } }

  /// Pushes on so many connections while the body runs.
  /// - Returns: What came of it, when everything has been answered.
  func running(connections: Int, _ body: () async throws -> Void) async throws -> Tally {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<connections { group.addTask { await self.push(lane) } }
      defer { isEnding.withLock { $0 = true } }
      try await body()
      isEnding.withLock { $0 = true }
      try await group.waitForAll()
    }
    return current
  }

  /// Waits until this number of further requests has been answered.
  func goesOn(for count: Int) async throws {
    let before = current.requests
    try await eventually(within: .seconds(30), "\(count) more requests are answered") {
      current.requests >= before + count
    }
  }

  private func push(_ lane: Int) async {
    var connection: WireConnection?
    var number = 0
    // A tenth of all requests has one of 50 unknown keys. These are fewer than the active keys.
    while !isEnding.withLock({ $0 }) {
      number += 1
      let isKnown = number % 10 != 0
      let payload = "{\"lane\":\(lane),\"number\":\(number)}"
      do {
        if connection == nil {
          connection = try await connect()
          tally.withLock { $0.connections += 1 }
        }
        guard let open = connection else { return }
        open.send(
          """
          POST /v1/events HTTP/1.1\r
          Host: sluice\r
          Authorization: Bearer \(isKnown ? Deployment.key(number % 100) : "sk_nobody_\(number % 500)")\r
          Content-Type: application/json\r
          Content-Length: \(payload.utf8.count)\r
          \r
          \(payload)
          """)
        let answer = try await open.answer(within: .seconds(20))
        note(answer, to: payload, isKnown: isKnown)
        if answer.isLast {
          let ending = try await open.ending(within: .seconds(10))
          if ending.ending != .closed || !ending.rest.isEmpty { fail("after \(answer.status): \(ending)") }
          connection = nil
        } else if number.isMultiple(of: requestsPerConnection) {
          open.close()
          connection = nil
        }
        // Some leave their connections idle for a while, so that balancers have idle ones too.
        if lane % 4 != 0 { try await Task.sleep(for: .milliseconds(number * 7 % 40)) }
      } catch {
        fail("lane \(lane), request \(number): \(error)")
        connection = nil
      }
    }
  }

  private func note(_ answer: WireAnswer, to payload: String, isKnown: Bool) {
    tally.withLock { tally in
      if isKnown { tally.valid[answer.status, default: 0] += 1 } else { tally.unknown[answer.status, default: 0] += 1 }
      if answer.status == 202 { tally.acknowledged.insert(payload) }
    }
    if isKnown ? answer.status != 202 : answer.status != 401 && answer.status != 503 {
      fail(
        "\(isKnown ? "an active" : "an unknown") key: \(answer.status) \(String(decoding: answer.body, as: UTF8.self))")
    }
  }

  private func fail(_ what: String) { tally.withLock { if $0.failures.count < 100 { $0.failures.append(what) } } }
}
