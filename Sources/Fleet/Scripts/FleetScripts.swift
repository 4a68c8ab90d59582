// The scripts: each is one atomic step in Redis. Each is in its own `.lua` file, beside the type that declares its
// keys, arguments and reply. Scripts that write have `allow-oom`, because reports are needed most when Redis is full.
// The number of members and the size of a report limit how much they write.

public import Hiredis
internal import RedisClient

enum FleetScripts {
  static let all = [ReportScript.script, ReadScript.script, ForgetScript.script]
}

/// The first word of a fleet script's error: why the script refuses.
public enum FleetErrorCode: String, Sendable, CaseIterable {
  /// The register has no space for this member.
  case full = "FLEETFULL"
}

extension RedisServerError {
  /// Nil for errors that aren't the fleet's.
  public var fleetCode: FleetErrorCode? { FleetErrorCode(rawValue: code) }
}
