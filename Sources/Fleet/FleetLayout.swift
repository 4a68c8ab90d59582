// Every Redis key of the fleet, and its content. Nothing else in Sluice writes such a name.
//
//   sluice:{fleet}:members  hash        `node/NAME` or `worker/NAME` → the last report, as JSON
//   sluice:{fleet}:marks    hash        the same fields → Redis's own record of the report: when (by Redis's clock), by
//                                       which instance, whether it was its last one, and when two instances were last
//                                       seen under this name
//   sluice:{fleet}:seen     sorted set  the same fields, by the time of their last report in milliseconds
//   sluice:{fleet}:register hash        `since` → when the last gap between reports ended, or Redis's clock last made
//                                       a step, in milliseconds
//   sluice:{fleet}:turned-away          sorted set of the fields of members that found the register full, by the time
//                                       of their last try in milliseconds
//
// Ages use Redis's clock alone: the members' clocks may be wrong, and there is one Redis.

public import RedisClient

/// The names of the fleet's Redis keys.
public struct FleetLayout: Sendable, Hashable {
  public let namespace: Namespace

  public init(namespace: Namespace = .standard) { self.namespace = namespace }

  /// A key under which nothing is ever stored. In Redis Cluster it is in the same slot as all keys of the fleet.
  public var slot: String { namespace.key("fleet", "slot") }
  public var members: String { namespace.key("fleet", "members") }
  public var marks: String { namespace.key("fleet", "marks") }
  public var seen: String { namespace.key("fleet", "seen") }

  public var register: String { namespace.key("fleet", "register") }
  public var turnedAway: String { namespace.key("fleet", "turned-away") }

  var all: [String] { [members, marks, seen, register, turnedAway] }

  static func field(_ kind: MemberKind, _ name: String) -> String { "\(kind.rawValue)/\(name)" }

  /// The reverse of ``field(_:_:)``; nil for a field that isn't one.
  static func member(of field: String) -> (kind: MemberKind, name: String)? {
    let parts = field.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, let kind = MemberKind(rawValue: String(parts[0])), !parts[1].isEmpty else { return nil }
    return (kind, String(parts[1]))
  }
}
