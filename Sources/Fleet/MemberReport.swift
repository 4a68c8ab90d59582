// The fields that all reports have, and the encoding of reports. Redis and the nodes' own /status have the same
// encoding, so that operators can compare the two letter by letter.

internal import Bytes
internal import Foundation

/// The kinds of processes that report.
public enum MemberKind: String, Codable, Sendable, CaseIterable {
  case node
  case worker
}

/// A process's report on itself.
public protocol MemberReport: Codable, Sendable, Equatable {
  static var kind: MemberKind { get }
  /// 1 to 64 letters, digits, `-`, `_` or `.`; unique for each member.
  var name: String { get }
  var build: String { get }
  /// The process that uses the name; see ``InstanceID``.
  var instance: String { get }
  /// The error that ended the process, as text; nil while it runs, and if it was stopped on purpose.
  var fatalError: String? { get }
  /// Unix seconds, by the member's own clock.
  var startedAt: Double { get }
  /// Unix seconds, by the member's own clock. The report's age isn't computed from this; see ``FleetDirectory``.
  var reportedAt: Double { get }
}

/// The random id of one process. It reveals two processes under one name.
public enum InstanceID {
  /// 16 hexadecimal digits.
  public static func random() -> String { UInt64.random(in: 0...UInt64.max).hexDigits() }
}

extension MemberReport {
  /// JSON with sorted keys, so that equal reports are equal texts.
  /// - Parameter pretty: Indented, for people.
  /// - Throws: `EncodingError` if a number isn't finite.
  public func json(pretty: Bool = false) throws -> [UInt8] { try promisedJSON(pretty: pretty) }

  /// - Throws: `DecodingError`. Fields that this build doesn't know are ignored.
  public init(json: [UInt8]) throws {
    self = try JSONDecoder().decode(Self.self, from: Data(json))
  }
}
