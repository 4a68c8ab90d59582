// The clients: some that push one payload after the other on connections that they keep, to either node, small payloads and large ones,
// compressed or not, with an Idempotency-Key or without, with keys that are good, blocked, or nobody's. Each answer is judged as it comes;
// what is acknowledged goes into the ledger.

import CompressionFixture
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization

/// What was heard in a round.
struct Tally: Sendable {
  var acknowledged = 0
  /// 401 and 403.
  var unknown = 0
  var blocked = 0
  var unavailable = 0
  /// No connection, or none that lived until the answer.
  var unanswered = 0

  var refused: Int { unknown + blocked }

  static func + (left: Tally, right: Tally) -> Tally {
    Tally(
      acknowledged: left.acknowledged + right.acknowledged, unknown: left.unknown + right.unknown,
      blocked: left.blocked + right.blocked, unavailable: left.unavailable + right.unavailable,
      unanswered: left.unanswered + right.unanswered)
  }
}

/// Something to push.
struct Payload: Sendable {
  /// As it is sent, which may be compressed.
  let body: ByteBuffer
  let isCompressed: Bool
  let digest: BodyDigest
  let idempotencyKey: String?

  /// - Parameter name: Of no other payload of the run.
  init(name: String, _ chance: inout Chance) throws {
    let size =
      switch chance.number(in: 1...100) {
      case 1...70: chance.number(in: 10...500)
      case 71...96: chance.number(in: 500...8_000)
      default: chance.number(in: 20_000...200_000)
      }
    var pad = ""
    while pad.utf8.count < size { pad += String(chance.bits(), radix: 36) }
    let plain = Array("{\"payload\":\"\(name)\",\"pad\":\"\(pad)\"}".utf8)
    isCompressed = chance.one(in: 6)
    body = ByteBuffer(bytes: isCompressed ? try Compression.gzip(plain) : plain)
    digest = BodyDigest(plain)
    idempotencyKey = chance.one(in: 3) ? "key of \(name)" : nil
  }
}

/// All clients of a round.
final class Clients: Sendable {
  private let ports: [Int]
  private let keys: KeyRing
  private let ledger: Ledger
  private let timeline: Timeline
  private let name: String
  private let tally = Mutex(Tally())
  private let isEnding = Mutex(false)
  /// When the faults began; nil while there are none.
  private let faultsSince = Mutex<ContinuousClock.Instant?>(nil)

  /// - Parameter name: Of the round, among all of the run.
  init(ports: [Int], keys: KeyRing, ledger: Ledger, timeline: Timeline, name: String) {
    self.ports = ports
    self.keys = keys
    self.ledger = ledger
    self.timeline = timeline
    self.name = name
  }

  var current: Tally { tally.withLock { $0 } }
  func end() { isEnding.withLock { $0 = true } }
  func faultsBegin() { faultsSince.withLock { $0 = .now } }
  /// From now on nodes must know all that the publisher has answered for.
  func faultsAreOver() { faultsSince.withLock { $0 = nil } }

  /// How far a node may be behind the publisher now. During faults it may have read nothing since they began.
  private func staleness(of node: Int) -> Duration {
    guard let since = faultsSince.withLock({ $0 }) else { return .zero }
    // Mirrors are saved once a minute.
    return node == Deployment.nodeWithState ? .seconds(120) : .now - since
  }

  private func object(_ violation: String) {
    timeline.note("MUST NOT BE: \(violation)")
    ledger.violation(violation)
  }
  private var isOver: Bool { isEnding.withLock { $0 } }

  /// Runs one client until all clients are stopped.
  func run(_ lane: Int, _ chance: Chance) async throws {
    var chance = chance
    var connections: [HTTPConnection?] = Array(repeating: nil, count: ports.count)
    var number = 0
    while !isOver {
      number += 1
      let payload = try Payload(name: "\(name)-\(lane)-\(number)", &chance)
      let key =
        switch chance.number(in: 1...100) {
        // Fewer unknown keys than active keys. Otherwise unknown keys would be answered 503 because of a refusal storm.
        case 1...4: APIKey(secret: "sk_nobody_\(number % 15)", account: "nobody")
        case 5...8: keys.blocked(&chance)
        default: keys.active(&chance)
        }
      // As clients do that keep a payload until it is taken: with an Idempotency-Key always, else now and then.
      var tries = 0
      let most = payload.idempotencyKey != nil ? 20 : chance.number(in: 1...2)
      while tries < most, !isOver {
        tries += 1
        let node = chance.number(in: 0...ports.count - 1)
        // Now and then it thinks better of it in the middle of a body.
        let sent = chance.one(in: 150) ? chance.number(in: 0...payload.body.readableBytes) : nil
        let answer = await push(payload, key, to: node, on: &connections[node], sent: sent)
        if answer == 202, payload.idempotencyKey != nil, chance.one(in: 12) { continue }
        if answer == 202 || answer == 401 || answer == 403 { break }
        await pause(chance.duration(in: .milliseconds(10) ... .milliseconds(200)))
      }
      if lane % 3 != 0 { await pause(chance.duration(in: .zero ... .milliseconds(30))) }
    }
  }

  private func pause(_ duration: Duration) async {
    do { try await Task.sleep(for: duration) } catch {
      // Cancelled: the caller looks whether it is to end.
    }
  }

  /// Pushes once.
  /// - Returns: The status; nil where there was no answer.
  private func push(
    _ payload: Payload, _ key: APIKey, to node: Int, on connection: inout HTTPConnection?, sent: Int?
  ) async -> Int? {
    do throws(NoAnswer) {
      let open: HTTPConnection
      if let connection { open = connection } else { open = try await HTTPConnection.connect(port: ports[node]) }
      connection = open
      let answer = try await exchange(payload, key, to: node, on: open, sent: sent)
      if answer.isLast { connection = nil }
      return answer.status
    } catch {
      if case .stray(let answer) = error {
        object("node-\(node + 1) said something that is no answer to a request: \(answer)")
      }
      connection?.close()
      connection = nil
      tally.withLock { $0.unanswered += 1 }
      return nil
    }
  }

  private func exchange(
    _ payload: Payload, _ key: APIKey, to node: Int, on connection: HTTPConnection, sent: Int?
  ) async throws(NoAnswer) -> HTTPAnswer {
    let before = keys.standing(of: key)
    let staleness = staleness(of: node)
    ledger.attempt(payload.digest, account: key.account, isIdempotent: payload.idempotencyKey != nil)
    let answer = try await connection.ask(
      Self.head(payload, key), body: payload.body, within: .seconds(5), sent: sent)
    if let objection = keys.objection(
      to: answer.status, for: key, before: before, staleness: max(staleness, self.staleness(of: node)))
    {
      object("node-\(node + 1): \(objection), \(key.secret): \(answer.body)")
    }
    if answer.status == 202 { ledger.acknowledge(answer.id, payload.digest, by: "node-\(node + 1)") }
    tally.withLock { tally in
      switch answer.status {
      case 202: tally.acknowledged += 1
      case 401: tally.unknown += 1
      case 403: tally.blocked += 1
      case 503, 504: tally.unavailable += 1
      // The objection has said so.
      default: break
      }
    }
    return answer
  }

  private static func head(_ payload: Payload, _ key: APIKey) -> HTTPRequestHead {
    var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/v1/events")
    head.headers = [
      "host": "sluice", "authorization": "Bearer \(key.secret)", "content-type": "application/json",
      "content-length": "\(payload.body.readableBytes)",
    ]
    if payload.isCompressed { head.headers.add(name: "content-encoding", value: "gzip") }
    if let idempotencyKey = payload.idempotencyKey {
      head.headers.add(name: "idempotency-key", value: idempotencyKey)
    }
    return head
  }

  /// Pushes one payload to one node on a connection of its own.
  /// - Returns: The status; nil where there was no answer.
  func pushOnce(_ payload: Payload, _ key: APIKey, to node: Int) async -> Int? {
    var connection: HTTPConnection?
    defer { connection?.close() }
    return await push(payload, key, to: node, on: &connection, sent: nil)
  }
}

extension HTTPAnswer {
  /// The id that a 202 gives.
  fileprivate var id: String {
    body.firstMatch(of: /"id":"([^"]*)"/).map { String($0.1) } ?? body
  }
}
