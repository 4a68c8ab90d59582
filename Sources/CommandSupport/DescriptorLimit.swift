// The limit on open descriptors. systemd, ssh and containerd set a soft limit of 1,024 and a far higher hard limit. The
// low value is for programs that call select(), which fails beyond it. Our programs don't call it, so they raise the
// soft limit themselves. Leaving this to operators would make a service that works in every test and fails under the
// first load.

internal import Foundation
public import Logging

/// The limit on open descriptors (`RLIMIT_NOFILE`).
public enum DescriptorLimit {
  /// Raises the soft limit to the hard one, and logs it. Call it once, before anything is opened.
  public static func raise(logger: Logger) {
    var limit = rlimit()
    guard getrlimit(resource, &limit) == 0 else {
      let reason = String(cString: strerror(errno))
      return logger.warning("the descriptor limit can't be read", metadata: ["reason": "\(reason)"])
    }
    guard limit.rlim_cur < limit.rlim_max else { return }
    var raised = limit
    raised.rlim_cur = limit.rlim_max
    guard setrlimit(resource, &raised) == 0 else {
      let reason = String(cString: strerror(errno))
      return logger.warning(
        "the descriptor limit can't be raised",
        metadata: ["soft": "\(limit.rlim_cur)", "hard": "\(limit.rlim_max)", "reason": "\(reason)"])
    }
    logger.notice(
      "descriptor limit raised to the hard limit", metadata: ["from": "\(limit.rlim_cur)", "to": "\(limit.rlim_max)"])
  }

  /// Checks that the limit allows this number of descriptors. Some libraries end the process if they can't open a
  /// descriptor, so a limit that is too low must be found before.
  public static func require(_ needed: Int) throws(TooFewDescriptors) {
    var limit = rlimit()
    // If it can't be read, `raise` has logged that.
    guard getrlimit(resource, &limit) == 0, limit.rlim_cur < UInt64(needed) else { return }
    throw TooFewDescriptors(needed: needed, limit: Int(limit.rlim_cur))
  }

  #if canImport(Glibc)
    private static let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  #else
    private static let resource = RLIMIT_NOFILE
  #endif
}

/// The limit on open descriptors is too small to start.
public struct TooFewDescriptors: Error, CustomStringConvertible {
  let needed: Int
  let limit: Int

  public var description: String {
    "expected a limit of at least \(needed) open descriptors (ulimit -n; LimitNOFILE in systemd), got \(limit)"
  }
}
