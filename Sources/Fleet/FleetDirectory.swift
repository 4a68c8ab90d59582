// The members of the fleet and the last report of each. Silent members stay listed for a day: if they vanished from the
// list, nobody would notice. A full register removes them earlier, to register new members.

import Foundation
import Hiredis
import KeyReplica
import NIOCore
public import RedisClient

/// A member and its last report.
public struct Member<Report: MemberReport>: Sendable, Equatable {
  public var report: Report
  /// When the report was written, in Unix seconds by Redis's clock.
  public var seenAt: Double
  /// The report's age when the directory was read, by Redis's clock; zero if ``isUndated``.
  public var age: Duration
  /// Whether Redis's clock has gone back since the report, so that the report's age is unknown. The next report of any
  /// member ends this. So it lasts for a second, unless no member reports.
  public var isUndated: Bool
  /// Whether the member marked this report as its last one.
  public var stopped: Bool
  /// How long ago two processes last reported under this name; nil if they never did.
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
  /// Whether the last report is older than a live member's can be, or its age is unknown.
  public var isSilent: Bool { isUndated || age > FleetVerdict.silentAfter }

  /// The last report's age in seconds; nil if ``isUndated``.
  var knownAge: Double? { isUndated ? nil : age.fractionalSeconds }

  /// The error that ended the member; nil if it runs or was stopped on purpose.
  public var failure: String? { stopped ? report.fatalError : nil }

  /// Whether the member runs, judging by its last report.
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

/// A member whose report can't be decoded, for example because another version wrote it.
public struct UnreadableMember: Sendable, Equatable {
  /// Nil if the field's name isn't a member's.
  public var kind: MemberKind?
  public var name: String
  /// The reason as text.
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
  /// Live members that found the register full. Nothing else is known of them. At most about a hundred.
  public var turnedAway: [MemberID]
  /// Maximum members.
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

  /// Converts a time by the clock of this or another Redis to the nodes' clocks. A node's clock sets the time at which
  /// a payload was received, so the payload's age must be by a node's clock too: Redis's clock may be wrong. Uses the
  /// live node whose clock is nearest to Redis's. Returns Redis's time if the two are close, or if no node is live.
  func nodesTime(whenRedisSays time: Double) -> Double {
    let ahead = nodes.filter(\.isLive).map { $0.seenAt - $0.report.reportedAt }.min { abs($0) < abs($1) }
    guard let ahead else { return time }
    let nodesTime = readAt - ahead
    return abs(time - nodesTime) <= FleetVerdict.clockTolerance.fractionalSeconds ? time : nodesTime
  }

  /// Whether the register is full, so that no further member can be registered.
  public var isFull: Bool {
    func fills<Report>(_ member: Member<Report>) -> Bool {
      !member.stopped && member.age < FleetDirectory.roomAfter
    }
    return nodes.count(where: fills) + workers.count(where: fills) + unreadable.count >= limit
  }
}

/// A report exceeds the size limit.
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

  /// Maximum bytes of a report.
  public static let reportLimit = 32_768
  /// Maximum members.
  public static let limit = 1_000
  /// If the register is full, a new member may replace one that has been silent for this time.
  public static let roomAfter = Duration.seconds(300)
  /// A member that was turned away tries again each second. It counts as still trying for this number of seconds after
  /// its last try.
  private static let triesAgainWithin = 10.0

  /// - Parameters:
  ///   - kept: How long silent members stay listed.
  ///   - limit: Maximum members. If all of them are alive, a further member's report is refused with
  ///     ``FleetErrorCode/full``.
  ///   - roomAfter: How long a member must have been silent before a new one may replace it.
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
  /// - Parameter stopped: Whether this is the last report before the member ends in good order.
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

  /// Reads all members, including silent and stopped ones.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError`` or ``Hiredis/UnexpectedReply``. A report that
  ///   can't be decoded is part of the reading instead.
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

  /// Removes a member that won't come back. A live member returns with its next report.
  /// - Returns: Whether there was such a member.
  public func forget(_ kind: MemberKind, _ name: String, within limit: Duration = .seconds(5)) async throws -> Bool {
    let script = ForgetScript(layout: layout, kind: kind, name: name)
    return try script.read(await client.execute(script, within: TimeAmount(limit)))
  }
}

extension FleetReading {
  /// The script's record of each member.
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
    guard let report else { throw Mismatch(reason: "its report is missing; only the time of the report is there") }
    guard let mark else { throw Mismatch(reason: "the time of its report is missing") }
    let decoded = try Report(json: report)
    let note = try JSONDecoder().decode(Mark.self, from: Data(mark))
    guard decoded.name == name else { throw Mismatch(reason: "the report belongs to \(decoded.name)") }
    guard decoded.instance == note.instance else {
      throw Mismatch(reason: "the report and its time are from two instances")
    }
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
      "the report's field \(path(context)) has an unexpected type"
    case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
      "the report's field \(path(context)) has an unknown value"
    default: "the report isn't JSON"
    }
  }

  private static func path(_ context: DecodingError.Context) -> String {
    context.codingPath.map(\.stringValue).joined(separator: ".")
  }
}
