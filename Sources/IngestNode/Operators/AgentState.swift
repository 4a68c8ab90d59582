// What the node tells a balancer that asks by HAProxy's agent-check, and the line it is told in. A line sets just what it names: a
// server that was told `down` stays down through a `drain` until some line says `up`. So each of ours says both whether the
// server works and whether it is to be given work, and none depends on which came before it. See "agent-check" in HAProxy's
// configuration manual.

/// What a balancer is to do with this node.
enum AgentState: Sendable, Equatable {
  /// Gives the node its share of new connections.
  /// - Parameter weight: In percent of the weight that the balancer's own configuration gives the node, from 0 to 100. With 0 it
  ///   gets nothing new, as with ``drain``. The configured weight should be 100 or so: a part of 1 rounds to 0.
  case up(weight: Int)
  /// Gives the node nothing new, and leaves what it has.
  case drain
  /// Takes the node to be broken. Only an `up` or `drain` of the node's own makes it whole again.
  /// - Parameter reason: For the balancer's log and status page.
  case down(reason: String)

  /// The answer, with its end.
  var line: String {
    switch self {
    case .up(let weight): "up ready \(min(max(weight, 0), 100))%\n"
    case .drain: "up drain\n"
    case .down(let reason): "down #\(Self.words(of: reason))\n"
    }
  }

  /// HAProxy keeps 128 bytes of what it makes of the line.
  private static let reasonLimit = 96

  /// One line of printable ASCII, whatever it was; the line's end would be taken for the answer's.
  private static func words(of reason: String) -> String {
    let printable = reason.unicodeScalars.prefix(reasonLimit).map { scalar -> Character in
      switch scalar.value {
      case 0x20...0x7e: Character(scalar)
      case 0...0x20: " "
      default: "?"
      }
    }
    return String(printable)
  }
}
