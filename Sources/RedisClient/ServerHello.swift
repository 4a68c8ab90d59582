// What can be known of a server that doesn't let itself be asked by INFO or ROLE: managed services rename or forbid
// them, and so do careful ACLs. HELLO without arguments changes nothing and says the version and the role. No ACL can
// forbid it, since clients greet by it.

public import Hiredis
import NIOCore

/// The answer to HELLO.
public struct ServerHello: Sendable, Equatable {
  /// As the server counts: Valkey says its own.
  public let version: String?
  /// `master` or `replica`; nil where it doesn't say.
  public let role: String?
  /// `redis` or `valkey`; nil where it doesn't say.
  public let server: String?
  /// `standalone`, `cluster` or `sentinel`; nil where it doesn't say.
  public let mode: String?

  public static let question = RedisCommand("HELLO")

  /// - Parameter reply: To ``question``: names and values by turns.
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
  /// Only of commands whose use is right in itself: services that forbid a command answer `ERR` with words of their
  /// own.
  public var isDenial: Bool { code == "NOPERM" || code == "ERR" }
}

/// A command that Sluice uses where it can, and can do without.
public struct DeniedCommand: Sendable, Hashable, CustomStringConvertible {
  /// `CLIENT SETNAME`, `INFO`, …
  public let name: String
  /// What the server answered.
  public let answer: String
  /// What is missing without it.
  public let consequence: String

  public init(_ name: String, _ error: RedisServerError, consequence: String) {
    self.name = name
    answer = error.message
    self.consequence = consequence
  }

  public var description: String { "\(name): \(consequence) (\(answer))" }
}

extension RedisConnection {
  /// What the server calls itself: `master`, or something else.
  func roleName(deadline: NIODeadline) -> EventLoopFuture<String> {
    send([RedisCommand("ROLE"), ServerHello.question], deadline: deadline).flatMapThrowing { replies in
      if case .error(let error) = replies[0], error.isDenial, let role = try? ServerHello(replies[1]).role {
        return role
      }
      return try replies[0].array().first?.string() ?? "nothing"
    }
  }
}
