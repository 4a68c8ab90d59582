// What HELLO reports, for servers that deny INFO or ROLE: managed services rename or forbid these, and so do strict
// ACLs. HELLO without arguments changes nothing, and returns the version and the role. No ACL can forbid it, because
// clients use it for the greeting.

public import Hiredis
import NIOCore

/// The reply to HELLO.
public struct ServerHello: Sendable, Equatable {
  /// The server's own version: for Valkey that of Valkey.
  public let version: String?
  /// `master` or `replica`; nil if the server doesn't report it.
  public let role: String?
  /// `redis` or `valkey`; nil if the server doesn't report it.
  public let server: String?
  /// `standalone`, `cluster` or `sentinel`; nil if the server doesn't report it.
  public let mode: String?

  public static let question = RedisCommand("HELLO")

  /// - Parameter reply: The reply to ``question``: names and values, which alternate.
  public init(_ reply: RedisReply) throws {
    let items = try reply.array()
    var texts: [String: String] = [:]
    for index in stride(from: 0, to: items.count - 1, by: 2) {
      let name = try items[index].string()
      // Other values are numbers and lists.
      if ["version", "role", "server", "mode"].contains(name) { texts[name] = try items[index + 1].string() }
    }
    version = texts["version"]
    role = texts["role"]
    server = texts["server"]
    mode = texts["mode"]
  }
}

extension RedisServerError {
  /// Whether the server doesn't have the command or this user may not run it, so that it needn't be tried again.
  ///
  /// Only for commands that are correct in themselves: services that forbid a command answer `ERR` with a text of their
  /// own.
  public var isDenial: Bool { code == "NOPERM" || code == "ERR" }
}

/// A command that Sluice uses if it is allowed, and can work without.
public struct DeniedCommand: Sendable, Hashable, CustomStringConvertible {
  /// `CLIENT SETNAME`, `INFO`, …
  public let name: String
  /// The server's error.
  public let answer: String
  /// The consequence of its absence.
  public let consequence: String

  public init(_ name: String, _ error: RedisServerError, consequence: String) {
    self.name = name
    answer = error.message
    self.consequence = consequence
  }

  public var description: String { "\(name): \(consequence) (\(answer))" }
}

extension RedisConnection {
  /// The server's role: `master`, or another name.
  func roleName(deadline: NIODeadline) -> EventLoopFuture<String> {
    send([RedisCommand("ROLE"), ServerHello.question], deadline: deadline).flatMapThrowing { replies in
      if case .error(let error) = replies[0], error.isDenial, let role = try? ServerHello(replies[1]).role {
        return role
      }
      return try replies[0].array().first?.string() ?? "nothing"
    }
  }
}
