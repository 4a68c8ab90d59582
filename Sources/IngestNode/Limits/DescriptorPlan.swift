// Divides the process's descriptors. Push connections get the rest after everything else has its part. A node that
// gives all descriptors to connections can't reach Redis again, can't answer `/livez`, and is ended by libdispatch,
// which traps when it can't open a file in /proc. The parts are calculated once, at the start, from the current limit.
//
// Rejected: counting descriptors at run time and closing connections near the limit. That is a race with every other
// part of the process that opens something, and it is lost when the node is busy.

internal import Foundation
internal import Listening

/// The number of descriptors for each part of the node.
struct DescriptorPlan: Equatable, Sendable {
  typealias Listener = ListenerPart

  /// The descriptors that the node needs besides its connections.
  struct Needs: Equatable, Sendable {
    /// Descriptors that are open already: standard streams, event loops, files.
    var open: Int
    /// Connections to Redis. Each may have two sockets for a moment: the old and the new one, or one that asks a
    /// Sentinel.
    var redisConnections: Int
    var hasAgentCheck: Bool
    var hasSpool: Bool
  }

  /// The process's soft limit.
  let limit: Int
  /// Descriptors for all but push connections.
  let keptBack: Int
  let pushes: Listener
  let admin: Listener
  let agentCheck: Listener?

  /// The node doesn't start if it can have fewer push connections than this.
  static let fewestConnections = 16

  /// - Parameters:
  ///   - limit: The process's soft limit.
  ///   - wanted: The operator's maximum of push connections.
  /// - Throws: If the limit leaves fewer connections than the smaller of ``fewestConnections`` and `wanted`.
  init(limit: Int, wanted: Int, needs: Needs) throws(TooFewDescriptors) {
    func part(_ share: Int, _ range: ClosedRange<Int>) -> Int {
      min(max(limit / share, range.lowerBound), range.upperBound)
    }
    let admin = Listener(connections: part(16, 8...64), courtesies: 0, batch: part(64, 2...8))
    let agentCheck =
      needs.hasAgentCheck ? Listener(connections: part(32, 4...64), courtesies: 0, batch: part(64, 2...8)) : nil
    var pushes = Listener(connections: 0, courtesies: part(64, 2...16), batch: part(32, 4...512))
    keptBack =
      needs.open + 2 * needs.redisConnections + admin.descriptors + (agentCheck?.descriptors ?? 0) + pushes.descriptors
      + (needs.hasSpool ? Self.spool : 0) + Self.files + part(64, 4...64)
    let fewest = min(wanted, Self.fewestConnections)
    guard limit >= keptBack + fewest else { throw TooFewDescriptors(limit: limit, keptBack: keptBack, fewest: fewest) }
    pushes.connections = min(wanted, limit - keptBack)
    self.limit = limit
    self.pushes = pushes
    self.admin = admin
    self.agentCheck = agentCheck
  }

  /// The spool's database, its log, its index, its lock, and a temporary file.
  private static let spool = 6
  /// Three listening sockets, the state file and its folder, certificates while they are read again, name look-ups, and
  /// libdispatch's reads of its threads in /proc.
  private static let files = 20

  /// The process's soft limit now.
  static var currentLimit: Int {
    var limit = rlimit()
    #if canImport(Glibc)
      let status = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    #else
      let status = getrlimit(RLIMIT_NOFILE, &limit)
    #endif
    // It fails only for a wrong argument.
    precondition(status == 0, "getrlimit: \(String(cString: strerror(errno)))")
    return Int(clamping: limit.rlim_cur)
  }

  /// The number of descriptors that the process has open.
  /// - Parameter assumed: Returned if the system doesn't provide the number.
  static func openDescriptors(assumed: Int) -> Int {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: "/dev/fd").count
    } catch {
      // A container without /proc. The reserve is large enough for a wrong assumption.
      return assumed
    }
  }
}

/// The process may open too few descriptors for a node.
struct TooFewDescriptors: Error, Equatable, CustomStringConvertible {
  let limit: Int
  let keptBack: Int
  let fewest: Int

  var description: String {
    """
    expected a limit of at least \(keptBack + fewest) open descriptors (ulimit -n; LimitNOFILE in systemd), got \(limit): \
    \(keptBack) for Redis, the admin listener and files, and at least \(fewest) for connections. \
    Raise the limit, or lower --threads or the number of --queue-shards
    """
  }
}
