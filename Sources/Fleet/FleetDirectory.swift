// Who is in the fleet, and what was heard of each of them last. Members that fell silent stay listed for a day: one that
// vanished from the list by itself would be missed by nobody. A full register removes them earlier, to make room.

import Foundation
import Hiredis
import KeyReplica
import NIOCore
public import RedisClient

/// A member and its last report.
public struct Member<Report: MemberReport>: Sendable, Equatable {
  public var report: Report
  /// When it was written, in Unix seconds by Redis's clock.
  public var seenAt: Double
  /// How long ago that was when the directory was read, by Redis's clock; zero where it ``isUndated``.
  public var age: Duration
  /// Whether Redis's clock has gone back since, so that nobody knows how long ago it was. The next report of any member
  /// ends this, so it lasts for a second, or nobody reports.
  public var isUndated: Bool
  /// Whether it said that this was its last report.
  public var stopped: Bool
  /// How long ago two processes were last seen to report under this name; nil if they never were.
  public var clashAge: Duration?

  public init(
    report: Report, seenAt: Double, age: Duration, isUndated: Bool = false, stopped: Bool, clashAge: Duration?
  ) {
    self.report = report
    self.seenAt = seenAt
    self.age = age
    self.isUndated = isUndated
    self.stopped = stopped
    self.clashAge = clashAge
  }
}

extension Member {
  /// Whether nothing was heard of it for longer than a live member is silent.
  public var isSilent: Bool { isUndated || age > FleetVerdict.silentAfter }

  /// How many seconds ago its last report was written; nil where it ``isUndated``.
  var knownAge: Double? { isUndated ? nil : age.fractionalSeconds }

  /// Why it ended, where it wasn't told to; nil otherwise.
  public var failure: String? { stopped ? report.fatalError : nil }

  /// Whether it runs, as far as one can tell.
  public var isLive: Bool { !stopped && !isSilent }
}

/// A member's kind and name.
public struct MemberID: Sendable, Hashable {
  public var kind: MemberKind
  public var name: String

  public init(_ kind: MemberKind, _ name: String) {
    self.kind = kind
    self.name = name
  }
}

/// A member whose report can't be understood: of another version perhaps.
public struct UnreadableMember: Sendable, Equatable {
  /// Nil where the field isn't one of ours.
  public var kind: MemberKind?
  public var name: String
  /// Why, in words.
  public var reason: String

  public init(kind: MemberKind?, name: String, reason: String) {
    self.kind = kind
    self.name = name
    self.reason = reason
  }
}

/// The whole fleet as it was at one moment, sorted by name.
public struct FleetReading: Sendable, Equatable {
  /// Redis's clock, in Unix seconds.
  public var readAt: Double
  public var nodes: [Member<NodeReport>]
  public var workers: [Member<WorkerReport>]
  public var unreadable: [UnreadableMember]
  /// Live members that found the register full: nothing else is known of them. At most some hundred.
  public var turnedAway: [MemberID]
  /// How many members there may be.
  public var limit: Int

  public init(
    readAt: Double, nodes: [Member<NodeReport>], workers: [Member<WorkerReport>], unreadable: [UnreadableMember],
    turnedAway: [MemberID] = [], limit: Int = FleetDirectory.limit
  ) {
    self.readAt = readAt
    self.nodes = nodes
    self.workers = workers
    self.unreadable = unreadable
    self.turnedAway = turnedAway
    self.limit = limit
  }

  /// The time by the nodes' clocks, given the time by a Redis, this or another one. A payload's time is by the clock of
  /// the node that received it, so its age has to be too: Redis's clock may be wrong. Uses the live node whose clock is
  /// nearest to Redis's. Answers Redis's time where the two are close, or no node is live.
  func nodesTime(whenRedisSays time: Double) -> Double {
    let ahead = nodes.filter(\.isLive).map { $0.seenAt - $0.report.reportedAt }.min { abs($0) < abs($1) }
    guard let ahead else { return time }
    let nodesTime = readAt - ahead
    return abs(time - nodesTime) <= FleetVerdict.clockTolerance.fractionalSeconds ? time : nodesTime
  }

  /// Whether there is no room for a further member.
  public var isFull: Bool {
    func fills<Report>(_ member: Member<Report>) -> Bool {
      !member.stopped && member.age < FleetDirectory.roomAfter
    }
    return nodes.count(where: fills) + workers.count(where: fills) + unreadable.count >= limit
  }
}

/// A report is larger than one may be.
public struct ReportTooLarge: Error, Sendable, Equatable, CustomStringConvertible {
  public var bytes: Int
  public var limit: Int
  public var description: String { "the report has \(bytes) bytes, the limit is \(limit)" }
}

/// The members' reports in Redis.
public struct FleetDirectory: Sendable {
  private let client: RedisClient
  private let layout: FleetLayout
  private let kept: Duration
  private let limit: Int
  private let roomAfter: Duration

  /// The most bytes that a report may have.
  public static let reportLimit = 32_768
  /// How many members there may be.
  public static let limit = 1_000
  /// How long a member must have been silent for its place to be given to a new one, where the register is full.
  public static let roomAfter = Duration.seconds(300)
  /// How long ago a member may have tried last to be taken for one that still tries, as it does each second.
  private static let triesAgainWithin = 10.0

  /// - Parameters:
  ///   - kept: How long members that fell silent stay listed.
  ///   - limit: How many members there may be. Where all of them live, the next one's report is refused with
  ///     ``FleetErrorCode/full``.
  ///   - roomAfter: How long a member must have been silent for its place to be given to a new one.
  public init(
    client: RedisClient, layout: FleetLayout = FleetLayout(), kept: Duration = .seconds(86_400),
    limit: Int = FleetDirectory.limit, roomAfter: Duration = FleetDirectory.roomAfter
  ) {
    self.client = client
    self.layout = layout
    self.kept = kept
    self.limit = limit
    self.roomAfter = roomAfter
  }

  /// Writes a member's report over its last one.
  /// - Parameter stopped: Whether it is the last before the member ends in good order.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError``, ``ReportTooLarge``, or `EncodingError`.
  public func write(
    _ report: some MemberReport, stopped: Bool = false, within limit: Duration = .seconds(1)
  ) async throws {
    let json = try report.json()
    guard json.count <= Self.reportLimit else { throw ReportTooLarge(bytes: json.count, limit: Self.reportLimit) }
    let script = ReportScript(
      layout: layout, kind: type(of: report).kind, name: report.name, report: json, instance: report.instance,
      isLast: stopped, kept: kept, limit: self.limit, roomAfter: roomAfter)
    try script.read(await client.execute(script, within: TimeAmount(limit)))
  }

  /// Reads all members, the silent and the stopped ones included.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError`` or ``Hiredis/UnexpectedReply``. A report that can't be
  ///   understood is part of the reading instead.
  public func read(within limit: Duration = .seconds(5)) async throws -> FleetReading {
    let script = ReadScript(layout: layout)
    let found = try script.read(await client.execute(script, within: TimeAmount(limit)))
    let readAt = found.readAt
    var reading = FleetReading(readAt: readAt, reports: found.reports, marks: found.marks)
    reading.limit = self.limit
    reading.turnedAway = found.turnedAway.compactMap { field, score in
      guard let (kind, name) = FleetLayout.member(of: field),
        let tried = Double(String(decoding: score, as: UTF8.self)),
        abs(readAt - tried / 1_000) < Self.triesAgainWithin
      else { return nil }
      return MemberID(kind, name)
    }.sorted { ($0.kind.rawValue, $0.name) < ($1.kind.rawValue, $1.name) }
    return reading
  }

  /// Removes a member that won't come back. One that lives will be back with its next report.
  /// - Returns: Whether there was one.
  public func forget(_ kind: MemberKind, _ name: String, within limit: Duration = .seconds(5)) async throws -> Bool {
    let script = ForgetScript(layout: layout, kind: kind, name: name)
    return try script.read(await client.execute(script, within: TimeAmount(limit)))
  }
}

extension FleetReading {
  /// What the script notes of each member.
  private struct Mark: Decodable {
    var seen: Double
    var instance: String
    var stopped: Bool
    var clash: Double
  }

  init(readAt: Double, reports: [String: [UInt8]], marks: [String: [UInt8]]) {
    self.init(readAt: readAt, nodes: [], workers: [], unreadable: [])
    for field in Set(reports.keys).union(marks.keys) {
      guard let (kind, name) = FleetLayout.member(of: field) else {
        unreadable.append(UnreadableMember(kind: nil, name: field, reason: "it is neither a node nor a worker"))
        continue
      }
      do {
        switch kind {
        case .node: nodes.append(try Self.member(name, reports[field], marks[field], readAt: readAt))
        case .worker: workers.append(try Self.member(name, reports[field], marks[field], readAt: readAt))
        }
      } catch {
        unreadable.append(UnreadableMember(kind: kind, name: name, reason: Self.words(error)))
      }
    }
    // By the numbers in the names: node-2 before node-10.
    func precedes(_ left: String, _ right: String) -> Bool {
      left.compare(right, options: .numeric) == .orderedAscending
    }
    nodes.sort { precedes($0.report.name, $1.report.name) }
    workers.sort { precedes($0.report.name, $1.report.name) }
    unreadable.sort { precedes($0.name, $1.name) }
  }

  private struct Mismatch: Error { let reason: String }

  private static func member<Report: MemberReport>(
    _ name: String, _ report: [UInt8]?, _ mark: [UInt8]?, readAt: Double
  ) throws -> Member<Report> {
    guard let report else { throw Mismatch(reason: "there is a note of a report but no report") }
    guard let mark else { throw Mismatch(reason: "there is a report but no note of when it came") }
    let decoded = try Report(json: report)
    let note = try JSONDecoder().decode(Mark.self, from: Data(mark))
    guard decoded.name == name else { throw Mismatch(reason: "the report is of \(decoded.name)") }
    guard decoded.instance == note.instance else { throw Mismatch(reason: "report and note are of two instances") }
    let seenAt = note.seen / 1_000
    return Member(
      report: decoded, seenAt: seenAt, age: .seconds(max(readAt - seenAt, 0)), isUndated: seenAt > readAt + 1,
      stopped: note.stopped,
      clashAge: note.clash == 0 ? nil : .seconds(max(readAt - note.clash / 1_000, 0)))
  }

  private static func words(_ error: any Error) -> String {
    switch error {
    case let mismatch as Mismatch: mismatch.reason
    case DecodingError.keyNotFound(let key, _): "the report lacks \(key.stringValue)"
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
      "the report has another \(path(context)) than this build expects"
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
      "the report has a \(path(context)) that this build doesn't know"
    default: "the report isn't JSON"
    }
  }

  private static func path(_ context: DecodingError.Context) -> String {
    context.codingPath.map(\.stringValue).joined(separator: ".")
  }
}
