// The scripts: each is one atomic step in Redis. Each is in a `.lua` file of its own, beside the type that knows its
// keys, arguments and reply. `allow-oom`, because a full Redis is when the reports are needed most; what they write is
// bounded by the number of members and the size of a report.

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
