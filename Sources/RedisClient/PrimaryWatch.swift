// Detects that another server has become primary while a connection to the old primary is open. A deposed primary that
// is alive doesn't close its connections until Sentinel has reached it, by default after ten seconds, and until then it
// accepts writes that will be lost.
//
// So while the connection is open, the sentinels are asked by turns, one each second. At the start those that weren't
// asked for the connection are asked at once. The connection is closed when a sentinel names another server with a
// later epoch. The epoch grows with each failover, so a sentinel that has missed a failover can't lead the client back.
//
// Rejected: a subscription to `+switch-master`. A sentinel that is cut off never sends that message, and it would need
// connections with replies that belong to no command. Also rejected: one watch for the whole process, which all
// connections would have to find and share.

import Hiredis
import NIOCore

/// The primary, according to a sentinel.
struct NamedPrimary: Sendable, Equatable {
  let host: RedisHost
  /// Grows with each failover.
  let epoch: Int64
}

extension SentinelGroup {
  /// Asks one of the sentinels, over a short-lived connection.
  /// - Parameters:
  ///   - place: The index of the sentinel.
  ///   - options: The options of the connection to the primary.
  func primary(
    accordingTo place: Int, of endpoint: RedisEndpoint, options: RedisOptions, within limit: TimeAmount,
    on eventLoop: any EventLoop
  ) -> EventLoopFuture<NamedPrimary> {
    let host = hosts[place]
    let deadline = NIODeadline.now() + limit
    let options = RedisOptions(connectDeadline: limit, name: "\(options.name)-sentinel")
    let connected = RedisConnection.connect(
      toServer: endpoint.sentinel(host, of: self), options: options, on: eventLoop
    ).flatMapErrorThrowing { error in
      // Reported as the sentinel's refusal, because the server itself hasn't refused the greeting.
      if let error = error as? RedisError, case .greetingRefused(let refusal) = error.reason {
        throw SilentSentinel(description: "the sentinel \(host) rejected HELLO or AUTH: \(refusal.message)")
      }
      throw error
    }
    return connected.assumeIsolated().flatMap { [primary] connection in
      if let mode = connection.program?.mode, mode != .sentinel {
        connection.close()
        return eventLoop.makeFailedFuture(
          SilentSentinel(
            description: "\(host) is no Sentinel: \(endpoint.advice(mode == .cluster ? .cluster : .alone, at: host))"))
      }
      let commands = [
        RedisCommand("SENTINEL", "GET-MASTER-ADDR-BY-NAME", primary), RedisCommand("SENTINEL", "MASTER", primary),
      ]
      return connection.send(commands, deadline: deadline).assumeIsolated().flatMapThrowing { replies in
        connection.close()
        return try Self.named(replies, sentinel: host, primary: primary)
      }.flatMapErrorThrowing { error in
        connection.close()
        throw error
      }.nonisolated()
    }.nonisolated()
  }

  /// - Parameter replies: The address, which changes first in a failover, and the other facts about the primary.
  private static func named(
    _ replies: [RedisReply], sentinel: RedisHost, primary: String
  ) throws -> NamedPrimary {
    guard let address = try replies[0].arrayOrNull() else {
      throw SilentSentinel(description: "the sentinel \(sentinel) knows no primary called \(primary)")
    }
    guard address.count == 2, let port = Int(try address[1].string()), (1...65535).contains(port) else {
      throw UnexpectedReply(expected: "a host and a port", came: replies[0].shape)
    }
    let facts = try replies[1].array()
    guard let field = facts.firstIndex(of: .bulk(Array("config-epoch".utf8))), facts.indices.contains(field + 1),
      let epoch = Int64(try facts[field + 1].string())
    else { throw UnexpectedReply(expected: "the primary's config-epoch", came: replies[1].shape) }
    return NamedPrimary(host: RedisHost(try address[0].string(), port: port), epoch: epoch)
  }

  /// A sentinel was reached but didn't name a primary.
  private struct SilentSentinel: Error, CustomStringConvertible {
    let description: String
  }
}

/// Watches one connection until it is closed. Used on the connection's event loop.
final class PrimaryWatch {
  private let connection: RedisConnection
  private let group: SentinelGroup
  private let endpoint: RedisEndpoint
  private let options: RedisOptions
  private let host: RedisHost
  private var epoch: Int64
  private var place: Int
  private var looks = 0
  private var next: Scheduled<Void>?

  /// The pause between two requests, and the timeout of each.
  static let pace = TimeAmount.seconds(1)

  init(
    _ connection: RedisConnection, group: SentinelGroup, endpoint: RedisEndpoint, options: RedisOptions,
    heard: NamedPrimary, from place: Int
  ) {
    self.connection = connection
    self.group = group
    self.endpoint = endpoint
    self.options = options
    host = heard.host
    epoch = heard.epoch
    self.place = place
  }

  func start() {
    connection.closed.assumeIsolated().whenComplete { _ in self.next?.cancel() }
    goOn()
  }

  private func goOn() {
    guard connection.ended == nil else { return }
    looks += 1
    let pause: TimeAmount = looks < group.hosts.count ? .zero : Self.pace
    next = connection.eventLoop.assumeIsolated().scheduleTask(in: pause) { self.look() }
  }

  private func look() {
    place = (place + 1) % group.hosts.count
    let named = group.primary(
      accordingTo: place, of: endpoint, options: options, within: Self.pace, on: connection.eventLoop)
    named.assumeIsolated().whenComplete { result in
      // A failed request changes nothing. The next sentinel is asked in a second.
      if case .success(let answer) = result, answer.epoch > self.epoch {
        self.epoch = answer.epoch
        if answer.host != self.host {
          self.connection.end(.closed("the sentinels name another primary, \(answer.host)"))
        }
      }
      self.goOn()
    }
  }
}
