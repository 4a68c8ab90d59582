// A server's program, as the server reports it. Valkey's INFO has its own version, and also a `redis_version` for
// clients that require one: the Redis that it is compatible with. Operators need the name and version of the program
// that they have installed. So `redis_version` is used only to check whether the server is too old.

/// The program of a server.
public struct ServerIdentity: Sendable, Equatable, CustomStringConvertible {
  /// How a server is run.
  public enum Mode: String, Sendable {
    case standalone, cluster, sentinel
  }

  /// `Redis`, `Valkey`, …
  public let name: String
  /// The program's own version.
  public let version: String
  /// The version of Redis that it is compatible with, if the server reports it.
  let compatible: String
  /// Nil if the server doesn't report it.
  public let mode: Mode?

  /// - Parameter info: The section `server` of INFO. The result is nil if a version is missing.
  public init?(_ info: InfoFields) {
    let name = info["server_name"] ?? "redis"
    let compatible = info["redis_version"]
    guard let version = info["\(name)_version"] ?? compatible else { return nil }
    self.init(
      name: String(name), version: String(version), compatible: String(compatible ?? version),
      mode: (info["redis_mode"] ?? info["server_mode"]).map(String.init))
  }

  /// Nil if a version is missing.
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
