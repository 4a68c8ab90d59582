// Shards with dead letters as workers make them, for tests of what operators do with them. Envelopes are put onto the lists by hand, so that
// these tests know nothing of how nodes push.

import Fleet
import Foundation
import Hiredis
import IngestQueue
import NIOCore
import RedisClient
import Testing

/// A shard of the queue in a test's Redis.
struct DeadLetterShard {
  let client: RedisClient
  var layout = QueueLayout()

  /// Lets a worker give envelopes up. Their ids are those of ``id(_:)``.
  func bury(
    _ numbers: some Sequence<Int>, account: String = "acme", payload: [UInt8] = Array("payload".utf8),
    reason: (Int) -> String
  ) async throws {
    let numbers = Array(numbers)
    for start in stride(from: 0, to: numbers.count, by: 500) {
      let elements = numbers[start..<min(start + 500, numbers.count)].map { Self.element($0, account, payload) }
      try await send("LPUSH", [layout.pending(0)] + elements)
    }
    let name = try #require(WorkerName("burier"))
    let worker = QueueConsumer(client: client, layout: layout, worker: name)
    var left = numbers.count
    while left > 0 {
      guard case .batch(let batch) = try await worker.claim(slot: 0, takesSuspects: true) else { continue }
      let fates = try batch.entries.map { entry in
        Disposition.dead(reason: reason(Int(try entry.content.get().header.receivedAt - Self.beginning)))
      }
      _ = try await worker.settle(batch, fates)
      left -= batch.entries.count
    }
  }

  func send(_ name: String, _ arguments: [any RedisArgument]) async throws {
    _ = try await client.execute(RedisCommand(name, arguments: arguments)).orThrow()
  }

  func survey() async throws -> QueueSurvey { try await QueueSurvey.read(from: client, layout: layout) }

  /// The ID of the envelope with this number.
  static func id(_ number: Int) -> String {
    let digits = String(number)
    return "00000000-0000-7000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
  }

  private static let beginning: Int64 = 1_790_000_000_000

  /// An envelope as it is on a list.
  static func element(
    _ number: Int, _ account: String = "acme", _ payload: [UInt8] = Array("payload".utf8)
  ) -> [UInt8] {
    let line =
      #"{"id":"\#(id(number))","account":"\#(account)","key":"9f86d081884c7d65","received_at":\#(beginning + Int64(number)),"#
      + #""path":"/v1/events","node":"node-1"}"#
    return Array(line.utf8) + [UInt8(ascii: "\n")] + payload
  }
}
