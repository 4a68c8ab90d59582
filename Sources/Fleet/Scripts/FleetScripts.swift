// The scripts: each is one atomic step in Redis. Each is in a `.lua` file of its own, beside the type that knows its
// keys, arguments and reply. `allow-oom`, because reports are needed most when Redis is full. The number of members and
// the size of a report limit how much they write.

public import Hiredis
internal import RedisClient

enum FleetScripts {
  static let all = [ReportScript.script, ReadScript.script, ForgetScript.script]
}

/// Why a script of the fleet refuses: the first word of its error.
public enum FleetErrorCode: String, Sendable, CaseIterable {
  /// There is no room for this member.
  case full = "FLEETFULL"
}

extension RedisServerError {
  /// Nil for errors that aren't the fleet's.
  public var fleetCode: FleetErrorCode? { FleetErrorCode(rawValue: code) }
}
