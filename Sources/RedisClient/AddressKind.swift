// Checks that an address matches the kind of its server. A URL says how a Redis is run: alone, behind Sentinels, or in
// a cluster. With the wrong kind, some commands work and others don't, and the server's own errors (MOVED, unknown
// command) don't tell an operator what to change. So each connection compares the URL with what the server reports.
//
// A cluster of one shard may have the address of a single server: managed services have an address that leads to its
// primary. Rejected: requiring that such an address leads to a server without cluster mode.

import Hiredis
import NIOCore

extension RedisConnection {
  /// For the address of a single server: checks that the server has all slots, if it is a node of a cluster.
  ///
  /// Fails with ``RedisError`` if it hasn't, or if it is a Sentinel. Then the connection is closed.
  /// - Parameter key: A key that must be at this server.
  func expectAllSlots(askingFor key: String?, deadline: NIODeadline) -> EventLoopFuture<RedisConnection> {
    let checked: EventLoopFuture<RedisConnection>
    let host: RedisHost? = if case .tcp = server.address { node } else { nil }
    switch program?.mode {
    case .standalone, nil: return eventLoop.makeSucceededFuture(self)
    case .sentinel:
      checked = eventLoop.makeFailedFuture(wrongAddress("is a Sentinel: \(server.advice(.sentinel, at: host))"))
    case .cluster:
      // A read that all Redis users of Sluice are allowed to send, of a key that never exists.
      let read = key.map { [RedisCommand("HGET", $0, "owner")] } ?? []
      checked = send([RedisCommand("CLUSTER", "SLOTS")] + read, deadline: deadline).flatMapThrowing { replies in
        // A user that may not send CLUSTER SLOTS finds out by reading the key.
        if let primaries = try? ClusterSlots(replies[0]).primaries, primaries.count > 1 {
          throw self.wrongAddress(
            "is a node of a cluster of \(primaries.count) shards: \(self.server.advice(.cluster, at: host))")
        }
        if let why = replies.last?.endOfSlot, replies.count == 2 {
          throw self.wrongAddress(
            "is a node of a cluster: \(why). After a failover behind this address, wait; otherwise "
              + self.server.advice(.cluster, at: host))
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

/// How a Redis is run, according to the scheme of its address.
enum AddressKind: String {
  case alone = ""
  case sentinel = "+sentinel"
  case cluster = "+cluster"
}

extension RedisEndpoint {
  /// How to correct an address of the wrong kind.
  /// - Parameter host: A server that the correct address leads to; nil if unknown.
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
