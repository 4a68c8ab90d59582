// Whether an address is of the kind that its server is. A URL says how a Redis is run: alone, behind Sentinels, in a
// cluster. With the wrong one, some commands work and others don't, and the server's own answers (MOVED, unknown command)
// tell nobody what to change. So each connection compares the URL with what the server says of itself.
//
// A cluster of one shard may be addressed like a server alone: managed services have an address that leads to its
// primary. Rejected: to expect such an address to be of a server without cluster mode.

import Hiredis
import NIOCore

extension RedisConnection {
  /// Of an address of one server: whether that server has all slots, where it is a node of a cluster.
  ///
  /// Fails with ``RedisError`` where it hasn't, or is a Sentinel; then the connection is closed.
  /// - Parameter key: One that has to be at this server.
  func expectAllSlots(askingFor key: String?, deadline: NIODeadline) -> EventLoopFuture<RedisConnection> {
    let checked: EventLoopFuture<RedisConnection>
    let host: RedisHost? = if case .tcp = server.address { node } else { nil }
    switch program?.mode {
    case .standalone, nil: return eventLoop.makeSucceededFuture(self)
    case .sentinel:
      checked = eventLoop.makeFailedFuture(wrongAddress("is a Sentinel: \(server.advice(.sentinel, at: host))"))
    case .cluster:
      // A read that all users of Sluice are allowed, of a key that never is there.
      let read = key.map { [RedisCommand("HGET", $0, "owner")] } ?? []
      checked = send([RedisCommand("CLUSTER", "SLOTS")] + read, deadline: deadline).flatMapThrowing { replies in
        // Who may not ask for the slots finds out by the key.
        if let primaries = try? ClusterSlots(replies[0]).primaries, primaries.count > 1 {
          throw self.wrongAddress(
            "is a node of a cluster of \(primaries.count) shards: \(self.server.advice(.cluster, at: host))")
        }
        if let why = replies.last?.endOfSlot, replies.count == 2 {
          throw self.wrongAddress(
            "is a node of a cluster: \(why). Unless the address leads elsewhere soon, \(self.server.advice(.cluster, at: host))"
          )
        }
        return self
      }
    }
    checked.whenFailure { _ in self.close() }
    return checked
  }

  private func wrongAddress(_ text: String) -> RedisError {
    RedisError(.connectFailed("\(server) \(text)"), outcome: .notSent)
  }
}

/// How a Redis is run, as the scheme of its address says.
enum AddressKind: String {
  case alone = ""
  case sentinel = "+sentinel"
  case cluster = "+cluster"
}

extension RedisEndpoint {
  /// What to write instead of this address, whose kind is wrong.
  /// - Parameter host: A server that the right address leads to; nil where that isn't known.
  func advice(_ kind: AddressKind, at host: RedisHost? = nil) -> String {
    let scheme = usesTLS ? "rediss" : "redis"
    let own =
      switch address {
      case .unix: "unix"
      case .tcp: scheme
      case .sentinels: scheme + AddressKind.sentinel.rawValue
      case .cluster: scheme + AddressKind.cluster.rawValue
      }
    let place = host.map { "\($0)" } ?? "host:port"
    let name = kind == .sentinel ? "/name-of-the-primary" : ""
    return "write \(scheme)\(kind.rawValue)://\(place)\(name) instead of \(own)://"
  }
}
