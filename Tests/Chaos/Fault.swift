// The faults of a round. Each fault begins, lasts for a time, and is undone by the code that began it. A fault's target
// says which faults may not overlap.

import NIOCore

/// A process of ours, by its place among its kind.
enum Role: Sendable, Hashable, CustomStringConvertible {
  case node(Int)
  case worker(Int)

  var description: String {
    switch self {
    case .node(let place): "node-\(place + 1)"
    case .worker(let place): "worker-\(place + 1)"
    }
  }
}

/// Something that goes wrong.
enum Fault: Sendable {
  /// kill -9, and started again at the end.
  case kill(Role)
  /// SIGSTOP, and SIGCONT at the end.
  case hold(Role)
  /// SIGTERM, and started again at the end.
  case end(Role)
  case killRedis
  case holdRedis
  /// Redis does nothing at all (DEBUG SLEEP).
  case sleepRedis
  /// Redis answers no writes, or nothing at all (CLIENT PAUSE).
  case pauseRedis(writesOnly: Bool)
  /// A key so large that nothing more may be written.
  case fillRedis
  /// Redis forgets its scripts, and closes all connections.
  case forgetClients
  case cut(Role)
  case cutAfter(Role, bytes: Int, FaultProxy.Direction)
  case weather(Role, FaultProxy.Weather)
  /// No data passes. At the end the held data arrives late, or never.
  case blackhole(Role, cutsAtItsEnd: Bool)
  /// The replica receives nothing more; then the primary dies, and the replica is promoted.
  case failOver
  /// The disk of the nodes' spools is full.
  case fillSpool

  /// The resource that a fault acts on. Two faults never act on one target at the same time.
  enum Target: Hashable, Sendable {
    case process(Role)
    case link(Role)
    case redis, memory, connections, spool
  }

  var target: Target {
    switch self {
    case .kill(let role), .hold(let role), .end(let role): .process(role)
    case .killRedis, .holdRedis, .sleepRedis, .pauseRedis, .failOver: .redis
    case .fillRedis: .memory
    case .forgetClients: .connections
    case .cut(let role), .cutAfter(let role, _, _), .weather(let role, _), .blackhole(let role, _): .link(role)
    case .fillSpool: .spool
    }
  }

  /// What it is counted under.
  var kind: String {
    switch self {
    case .kill(.node): "kill node"
    case .kill(.worker): "kill worker"
    case .hold(.node): "stop node"
    case .hold(.worker): "stop worker"
    case .end(.node): "end node"
    case .end(.worker): "end worker"
    case .killRedis: "kill redis"
    case .holdRedis: "stop redis"
    case .sleepRedis: "sleep redis"
    case .pauseRedis(writesOnly: true): "pause redis's writes"
    case .pauseRedis(writesOnly: false): "pause redis"
    case .fillRedis: "fill redis"
    case .forgetClients: "cut all and forget scripts"
    case .cut: "cut"
    case .cutAfter(_, _, let direction): "cut at a byte \(direction.rawValue)"
    case .weather(_, .fair): "fair"
    case .weather(_, .late): "delay"
    case .weather(_, .trickle): "trickle"
    case .blackhole, .weather(_, .still): "blackhole"
    case .weather(_, .closed): "refuse connections"
    case .failOver: "fail over to a replica that lags"
    case .fillSpool: "fill the spool's disk"
    }
  }

  /// Whether it does something to one process or link, and which.
  private var role: Role? {
    switch target {
    case .process(let role), .link(let role): role
    case .redis, .memory, .connections, .spool: nil
    }
  }
}

extension Fault: CustomStringConvertible {
  var description: String {
    let words =
      switch target {
      case .process(let role): "\(kind.split(separator: " ")[0]) \(role)"
      default: role.map { "\(kind) \($0)" } ?? kind
      }
    return switch self {
    case .cutAfter(_, let bytes, _): "\(words) #\(bytes)"
    case .weather(_, .late(let by)): "\(words) by \(by.nanoseconds / 1_000_000) ms"
    case .weather(_, .trickle(let bytes)): "\(words) \(bytes) B/10ms"
    default: words
    }
  }
}
