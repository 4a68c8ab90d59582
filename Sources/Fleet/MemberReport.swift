// What all reports have in common, and how they are written down. One encoding for Redis and for the nodes' own /status, so
// that what an operator reads in one place can be compared with the other letter by letter.

internal import Bytes
internal import Foundation

/// The kinds of processes that report of themselves.
public enum MemberKind: String, Codable, Sendable, CaseIterable {
  case node
  case worker
}

/// What a process says of itself.
public protocol MemberReport: Codable, Sendable, Equatable {
  static var kind: MemberKind { get }
  /// Of 1 to 64 letters, digits, `-`, `_` or `.`; each member's own.
  var name: String { get }
  var build: String { get }
  /// Which process it is that goes by the name; see ``InstanceID``.
  var instance: String { get }
  /// Why it ended, in words, where it wasn't told to; nil otherwise, and while it runs.
  var fatalError: String? { get }
  /// Unix seconds, by the member's own clock.
  var startedAt: Double { get }
  /// Unix seconds, by the member's own clock. Nobody judges its age by this; see ``FleetDirectory``.
  var reportedAt: Double { get }
}

/// The random name of one process, so that two under one name are noticed.
public enum InstanceID {
  /// 16 hexadecimal digits.
  public static func random() -> String { UInt64.random(in: 0...UInt64.max).hexDigits() }
}

extension MemberReport {
  /// JSON with sorted keys, so that equal reports are equal texts.
  /// - Parameter pretty: Indented, for people.
  /// - Throws: `EncodingError` where a number isn't finite.
  public func json(pretty: Bool = false) throws -> [UInt8] { try promisedJSON(pretty: pretty) }

  /// - Throws: `DecodingError`. Fields that this build doesn't know are ignored.
  public init(json: [UInt8]) throws {
    self = try JSONDecoder().decode(Self.self, from: Data(json))
  }
}
