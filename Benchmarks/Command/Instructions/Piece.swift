// The pieces of a push's way that can be run by themselves, in a process that does nothing else. Each is what a node does, with input that
// is made beforehand and is the same however often it is run: of two runs' difference nothing else is left.

import HTTPFraming
import Hiredis
import KeyReplica
import KeyStore
import SimulatedStore

/// Something small that is run many times.
struct Piece: Sendable {
  let name: String
  /// What is done once.
  let what: String
  /// How often it is run: the difference of the two is what counts, and must be some ten millions of instructions.
  let times: (few: Int, many: Int)
  let run: @Sendable (_ times: Int) throws -> Void

  static let all = [
    Piece(name: "lookup", what: "from a key's bytes to what the mirror holds of it", times: (500, 10_500), run: lookup),
    Piece(
      name: "head", what: "a request's head of ten lines, five of them looked up, and its answer",
      times: (500, 10_500), run: head),
    Piece(
      name: "change", what: "a change of the store, applied by a mirror that follows it", times: (500, 5_500),
      run: change),
    Piece(name: "reply", what: "Redis's reply to a push", times: (5_000, 55_000), run: reply),
    Piece(name: "bucket", what: "Redis's reply of a bucket with 100 records", times: (50, 1_050), run: bucket),
  ]

  /// What ``change(times:)`` makes beforehand.
  private static let changesMade = 6_000

  private static func lookup(times: Int) throws {
    let table = SampleKeys.table(count: 1000)
    let secrets = (0..<1000).map(SampleKeys.secret)
    var found = 0
    for time in 0..<times where table.find(KeyID(secret: secrets[time % secrets.count]))?.state == .active {
      found += 1
    }
    guard found == times else { throw CannotMeasure("\(found) of \(times) keys were found") }
  }

  private static func head(times: Int) throws {
    let bytes = Array(
      """
      POST /v1/events?source=web HTTP/1.1\r
      Host: ingest.example.com\r
      User-Agent: sender/1.20.0\r
      Accept: */*\r
      Accept-Encoding: gzip, deflate\r
      Authorization: Bearer sk_live_0123456789abcdef0123456789abcdef\r
      Content-Type: application/json\r
      Content-Encoding: gzip\r
      Content-Length: 0\r
      traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r
      Connection: keep-alive\r
      \r

      """.utf8)
    var connection = RequestConnection(limits: RequestLimits(requests: .max))
    var answered = 0
    for _ in 0..<times {
      var (consumed, current) = (0, RequestNumber?.none)
      reading: while true {
        let rest = bytes.span.bytes.extracting(consumed...)
        let step = connection.next(rest)
        consumed += step.length
        switch step.action {
        case .head(let number, _):
          let names: [FieldName] = [
            "authorization", "content-type", "content-encoding", "traceparent", "idempotency-key",
          ]
          if names.count(where: { connection.head.first($0, in: rest) != nil }) == 4 { current = number }
        case .end:
          if let current, connection.answer(current) != nil { answered += 1 }
          break reading
        default: throw CannotMeasure("a whole and valid head was answered with \(step)")
        }
      }
    }
    guard answered == times else { throw CannotMeasure("\(answered) of \(times) requests were answered") }
  }

  private static func change(times: Int) throws {
    var store = SimulatedStore(bucketCount: 64, changesKept: changesMade)
    try store.create(epoch: "0123456789abcdef0123456789abcdef")
    let table = KeyTable(bucketCount: 64)
    let now = Instant(nanoseconds: 0)
    var replica = Replica(table: table, seed: 1, now: now)
    let session = follow(store, with: &replica, now: now)
    for number in 0..<changesMade {
      let key = KeyID(secret: SampleKeys.secret(number))
      _ = try store.apply([StoreEdit(key: key, kind: .put(account: "account-\(number % 100)", .active))], now: 1)
    }
    for change in store.stream.prefix(times) { _ = replica.handle(.changes(session, .success([change])), now: now) }
    guard table.count == times else { throw CannotMeasure("\(table.count) of \(times) changes were applied") }
  }

  /// Answers what the replica asks, until it waits for changes.
  private static func follow(_ store: SimulatedStore, with replica: inout Replica, now: Instant) -> Replica.ConnectionID
  {
    var commands = replica.handle(.timePassed, now: now)[...]
    while let command = commands.popFirst() {
      switch command {
      case .connect(let session): commands += replica.handle(.connected(session), now: now)
      case .readManifest(let session, let read):
        commands += replica.handle(.manifest(session, read: read, .success(store.manifest())), now: now)
      case .readBucket(let session, let index):
        commands += replica.handle(.bucket(session, index, .success(store.bucket(index))), now: now)
      case .readChanges(let session, _): return session
      case .disconnect, .readPosition, .recordReplicas, .answer, .note: break
      }
    }
    return 0
  }

  private static func reply(times: Int) throws {
    try read(Array(":123\r\n".utf8), times: times)
  }

  private static func bucket(times: Int) throws {
    var bytes = Array("*200\r\n".utf8)
    for number in 0..<100 {
      let record = KeyRecord(state: .active, since: 1_763_683_200, account: SampleKeys.account(number)).encoded
      for string in [KeyID(secret: SampleKeys.secret(number)).bytes, record] {
        bytes += Array("$\(string.count)\r\n".utf8) + string + [13, 10]
      }
    }
    try read(bytes, times: times)
  }

  private static func read(_ bytes: [UInt8], times: Int) throws {
    var reader = ReplyReader()
    var replies = 0
    for _ in 0..<times {
      try reader.feed(bytes)
      while try reader.next() != nil { replies += 1 }
    }
    guard replies == times else { throw CannotMeasure("\(replies) of \(times) replies were read") }
  }
}
