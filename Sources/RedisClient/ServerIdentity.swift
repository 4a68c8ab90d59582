// What program a server is, by its own word. Valkey's INFO also has a `redis_version`, for clients that look for one:
// the Redis that it is compatible with. People need the name and version of what they have installed, so that number is
// used only to tell whether the server is too old.

/// The program that a server is.
public struct ServerIdentity: Sendable, Equatable, CustomStringConvertible {
  /// How a server is run.
  public enum Mode: String, Sendable {
    case standalone, cluster, sentinel
  }

  /// `Redis`, `Valkey`, …
  public let name: String
  /// The program's own.
  public let version: String
  /// The Redis that it is compatible with, where it says so.
  let compatible: String
  /// Nil where it doesn't say.
  public let mode: Mode?

  /// - Parameter info: The section `server` of INFO. Nil where a version is missing.
  public init?(_ info: InfoFields) {
    let name = info["server_name"] ?? "redis"
    let compatible = info["redis_version"]
    guard let version = info["\(name)_version"] ?? compatible else { return nil }
    self.init(
      name: String(name), version: String(version), compatible: String(compatible ?? version),
      mode: (info["redis_mode"] ?? info["server_mode"]).map(String.init))
  }

  /// Nil where a version is missing.
  public init?(_ hello: ServerHello) {
    guard let version = hello.version else { return nil }
    self.init(name: hello.server ?? "redis", version: version, compatible: version, mode: hello.mode)
  }

  private init(name: String, version: String, compatible: String, mode: String?) {
    self.name = name.prefix(1).uppercased() + name.dropFirst()
    self.version = version
    self.compatible = compatible
    self.mode = mode.flatMap(Mode.init)
  }

  /// `Valkey 9.1.0`.
  public var description: String { "\(name) \(version)" }
}
