// Pushes of active keys that continue through all faults. Each has its own number and is sent once. So for each one the
// time, the answer, and whether it is in the sink are known.

import Foundation
import RedisFixture
import Synchronization

/// Pushes to one node, and what came of them.
final class NumberedPushes: Sendable {
  struct Push: Sendable {
    var number: Int
    var sentAt: ContinuousClock.Instant
    var answeredAt: ContinuousClock.Instant
    var status: Int
    var body: String
  }

  private let node: Node
  private let all = Mutex<[Push]>([])
  private let isEnding = Mutex(false)
  private let next = Atomic(0)

  init(to node: Node) { self.node = node }

  var answered: [Push] { all.withLock { $0 } }
  var acknowledged: [Push] { answered.filter { $0.status == 202 } }

  /// Pushes on this number of lanes while the body runs, and waits for the last answers.
  func running<Value: Sendable>(lanes: Int, _ body: () async throws -> Value) async throws -> Value {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<lanes { group.addTask { try await self.push() } }
      defer { isEnding.withLock { $0 = true } }
      let value = try await body()
      isEnding.withLock { $0 = true }
      try await group.waitForAll()
      return value
    }
  }

  /// Waits until this number of pushes sent from now on is acknowledged.
  func goOn(for count: Int, within limit: Duration = .seconds(30)) async throws {
    let now = ContinuousClock.now
    try await eventually(within: limit, "\(count) more pushes are acknowledged") {
      acknowledged.count { $0.sentAt > now } >= count
    }
  }

  private func push() async throws {
    while !isEnding.withLock({ $0 }) {
      let number = next.add(1, ordering: .relaxed).newValue
      let sentAt = ContinuousClock.now
      let answer = try await node.push(Self.payload(number), key: Deployment.key(number % 100))
      let push = Push(
        number: number, sentAt: sentAt, answeredAt: .now, status: answer.status, body: answer.body)
      all.withLock { $0.append(push) }
      // As often as a client would that was told to come later, and not as often as the node can say so.
      if push.status != 202 { try await Task.sleep(for: .milliseconds(20)) }
    }
  }

  private static func payload(_ number: Int) -> [UInt8] { Array("{\"number\":\(number)}".utf8) }

  /// The number in a payload.
  static func number(in body: Data) throws -> Int {
    guard let number = String(decoding: body, as: UTF8.self).firstMatch(of: /"number":(\d+)/).flatMap({ Int($0.1) })
    else { throw NeverHappened(description: "a payload without a number: \(String(decoding: body, as: UTF8.self))") }
    return number
  }
}
