// One address behind which one server after another stands, as a virtual IP or a name does in production: for failovers, restored
// backups, and the wrong Redis at the right place. It is a symbolic link to a server's socket, because that can be changed in one
// step and needs no free port. Rejected: a proxy, which would have faults of its own.

import Foundation
public import RedisClient

/// A Unix socket's path that leads to one server or another. Connections that were made stay where they are.
public final class MovableAddress: Sendable {
  private let folder: TemporaryFolder

  public init() throws { folder = try TemporaryFolder() }

  private var path: String { folder.path("address.sock") }

  /// The address that clients use. It never changes.
  public var endpoint: RedisEndpoint { RedisEndpoint(address: .unix(path: path)) }

  /// From now on new connections lead to this server.
  public func lead(to server: RedisServer) throws {
    let aside = folder.path("aside")
    try FileManager.default.createSymbolicLink(atPath: aside, withDestinationPath: server.folder.path("redis.sock"))
    guard rename(aside, path) == 0 else {
      throw CannotStart(description: "cannot move \(path): \(String(cString: strerror(errno)))")
    }
  }

  /// From now on nobody can connect.
  public func withdraw() throws { try FileManager.default.removeItem(atPath: path) }
}
