// The state that the node reports in HAProxy's agent-check, and its line of text. A line changes only the settings that
// it names: after `down`, a `drain` leaves a server down until a line says `up`. So each line says both whether the
// server works and whether it gets traffic, and no line depends on the one before it. See "agent-check" in HAProxy's
// configuration manual.

/// How a load balancer should treat this node.
enum AgentState: Sendable, Equatable {
  /// Gives the node its share of new connections.
  /// - Parameter weight: Percentage of the weight in the load balancer's configuration, from 0 to 100. With 0 the node
  ///   gets no new connections, as with ``drain``. The configured weight should be about 100: a part of 1 rounds to 0.
  case up(weight: Int)
  /// Gives the node no new connections, and leaves the existing ones.
  case drain
  /// Marks the node as broken. Only an `up` or `drain` from the node itself ends that state.
  /// - Parameter reason: For the load balancer's log and status page.
  case down(reason: String)

  /// The answer, with its line end.
  var line: String {
    switch self {
    case .up(let weight): "up ready \(min(max(weight, 0), 100))%\n"
    case .drain: "up drain\n"
    case .down(let reason): "down #\(Self.words(of: reason))\n"
    }
  }

  /// HAProxy has a buffer of 128 bytes for the line and its own text.
  private static let reasonLimit = 96

  /// The reason as one line of printable ASCII. A line end in it would end the answer.
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
