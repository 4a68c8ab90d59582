// The server program that the tests start. All tests ask here, so the whole suite can run on any of them.

import Foundation

/// A Redis, or what can stand in its place.
public enum RedisBuild: String, CaseIterable, Sendable, CustomStringConvertible {
  /// Debian's, the only one with TLS.
  case redis7 = "redis-7.0"
  case redis8 = "redis-8"
  case valkey9 = "valkey-9"
  /// Too old for Sluice.
  case redis6 = "redis-6.2"

  /// Those that Sluice runs on.
  public static let supported: [RedisBuild] = [.redis7, .redis8, .valkey9]

  /// The one that a test gets unless it says which: the environment's `SLUICE_TEST_SERVER`.
  public static let underTest: RedisBuild = {
    guard let name = ProcessInfo.processInfo.environment["SLUICE_TEST_SERVER"] else { return .redis7 }
    guard let build = RedisBuild(rawValue: name), supported.contains(build) else {
      fatalError("SLUICE_TEST_SERVER: expected \(supported.map(\.rawValue).joined(separator: ", ")), got \"\(name)\"")
    }
    return build
  }()

  /// Whether a server has an append-only file unless a test says otherwise: `SLUICE_TEST_APPENDONLY=yes` in the environment.
  static let appendsByDefault = ProcessInfo.processInfo.environment["SLUICE_TEST_APPENDONLY"] == "yes"

  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: ".build/servers")

  /// A path, or a name that is looked up in PATH.
  /// - Throws: ``CannotStart`` where it wasn't fetched.
  func program() throws -> String {
    if self == .redis7 { return "redis-server" }
    let path = Self.folder.appending(path: "\(rawValue)/server").path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw CannotStart(description: "\(rawValue) isn't at \(path): run Scripts/servers")
    }
    return path
  }

  public var description: String { rawValue }
}
