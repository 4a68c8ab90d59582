// Finds the right server of an address that leads to several: sentinels or cluster nodes are asked one after another,
// and the first verified answer is used.
//
// The order starts at a random one. So a fleet spreads its requests over all of them, and an attempt after a failed one
// doesn't need the last one's results. Each gets only a share of the remaining time, so that a silent one doesn't
// prevent asking the others.

import Hiredis
import NIOCore

/// One attempt to find and connect to the right server. Used on the event loop.
final class ServerSearch {
  /// The kind of server to find.
  enum Question {
    /// The primary that these sentinels name.
    case primary(SentinelGroup)
    /// The node that has the slot of a key.
    case owner(of: String, seeds: [RedisHost])
  }

  private let endpoint: RedisEndpoint
  private let question: Question
  private let asked: [RedisHost]
  private let options: RedisOptions
  private let deadline: NIODeadline
  private let eventLoop: any EventLoop
  private let first: Int

  /// The errors of those that were asked.
  private var complaints: [String] = []
  /// Servers that turned out to be wrong. If another node names them again within this attempt, they are skipped.
  private var refuted: Set<RedisHost> = []

  init(
    _ question: Question, endpoint: RedisEndpoint, options: RedisOptions, deadline: NIODeadline,
    eventLoop: any EventLoop
  ) {
    self.endpoint = endpoint
    self.question = question
    self.options = options
    self.deadline = deadline
    self.eventLoop = eventLoop
    asked =
      switch question {
      case .primary(let group): group.hosts
      case .owner(_, let seeds): seeds
      }
    first = Int.random(in: asked.indices)
  }

  /// Fails with ``RedisError``, by the deadline.
  func run() -> EventLoopFuture<RedisConnection> { ask(0) }

  private func ask(_ turn: Int) -> EventLoopFuture<RedisConnection> {
    let left = deadline - .now()
    guard asked.indices.contains(turn), left > .zero else {
      let why = complaints.isEmpty ? "nobody answered" : complaints.joined(separator: "; ")
      return eventLoop.makeFailedFuture(RedisError(.connectFailed("\(endpoint): \(why)"), outcome: .notSent))
    }
    let place = (first + turn) % asked.count
    // One share is kept for connecting to the server itself.
    let share = TimeAmount.nanoseconds(left.nanoseconds / Int64(asked.count - turn + 1))
    let found =
      switch question {
      case .primary(let group): primary(group, asking: place, within: share)
      case .owner(let key, _): owner(of: key, asking: asked[place], within: share)
      }
    return found.assumeIsolated().flatMapError { error in
      // With wrong credentials no further one is asked: that would look like an attack, and the result would be the
      // same.
      if let error = error as? RedisError, case .greetingRefused(let refusal) = error.reason, !refusal.isPassing {
        return self.eventLoop.makeFailedFuture(error)
      }
      self.complaints.append("\(error)")
      return self.ask(turn + 1)
    }.nonisolated()
  }

  // MARK: Sentinel

  private func primary(
    _ group: SentinelGroup, asking place: Int, within limit: TimeAmount
  ) -> EventLoopFuture<RedisConnection> {
    let named = group.primary(
      accordingTo: place, of: endpoint, options: options, within: limit, on: eventLoop)
    return named.assumeIsolated().flatMap { answer in
      self.connect(
        to: answer.host, whom: "the sentinel \(group.hosts[place]) names as the primary"
      ).assumeIsolated().flatMap { connection in
        connection.roleName(deadline: self.deadline).assumeIsolated().flatMapThrowing { role in
          guard role == "master" else {
            self.refuted.insert(answer.host)
            throw NotFound("\(answer.host) is named as the primary by \(group.hosts[place]) and calls itself \(role)")
          }
          connection.follow(group, of: self.endpoint, options: self.options, heard: answer, from: place)
          return connection
        }.flatMapErrorThrowing { error in
          connection.close()
          throw error
        }.nonisolated()
      }.nonisolated()
    }.nonisolated()
  }

  // MARK: Cluster

  private func owner(
    of key: String, asking seed: RedisHost, within limit: TimeAmount
  ) -> EventLoopFuture<RedisConnection> {
    let slot = ClusterSlot(of: key)
    var options = options
    options.connectDeadline = limit
    let connected = RedisConnection.connect(toServer: endpoint.server(at: seed), options: options, on: eventLoop)
    return connected.assumeIsolated().flatMap { connection in
      let deadline = min(self.deadline, .now() + limit)
      return connection.send(RedisCommand("CLUSTER", "SLOTS"), deadline: deadline).assumeIsolated()
        .flatMapThrowing { reply in
          if case .error(let error) = reply, error.isDenial {
            switch connection.program?.mode {
            case .sentinel: throw NotFound("\(seed) is a Sentinel: \(self.endpoint.advice(.sentinel, at: seed))")
            // If single servers were treated as a cluster, they would be several stores.
            case let mode where mode == .standalone || error.saysNoCluster:
              throw NotFound("\(seed) runs without cluster mode: \(self.endpoint.advice(.alone, at: seed))")
            // The service hides its nodes, or doesn't let this user ask for them. The seed itself has the slot, or
            // redirects to the node with the slot.
            default: return nil
            }
          }
          guard let host = try ClusterSlots(reply).owner(of: slot, accordingTo: seed) else {
            throw NotFound("\(seed) knows no node that has \(slot)")
          }
          return host
        }.flatMap { host in
          self.go(to: host, whom: "\(seed) names as the node that has \(slot)", from: connection)
        }.flatMap { connection in
          self.examine(connection, for: key, mayBeSentOn: true)
        }.flatMapErrorThrowing { error in
          connection.close()
          throw error
        }.nonisolated()
    }.nonisolated()
  }

  /// - Parameters:
  ///   - host: As it is announced; nil for the server of the connection.
  ///   - connection: It is closed unless it leads to that server.
  private func go(
    to host: RedisHost?, whom: String, from connection: RedisConnection
  ) -> EventLoopFuture<RedisConnection> {
    guard let host, endpoint.server(announcedAs: host).address != connection.server.address else {
      return eventLoop.makeSucceededFuture(connection)
    }
    connection.close()
    return connect(to: host, whom: whom)
  }

  /// Checks that this node itself says that it serves the slot. The slot may have moved since another node named this
  /// one, and a node that is cut off from its cluster still names itself.
  /// - Parameter mayBeSentOn: Whether to follow a redirection. Only once: two nodes that redirect to each other are
  ///   asked again later.
  private func examine(
    _ connection: RedisConnection, for key: String, mayBeSentOn: Bool
  ) -> EventLoopFuture<RedisConnection> {
    // A read that all Redis users of Sluice are allowed to send, of a key that never exists.
    connection.send(RedisCommand("HGET", key, "owner"), deadline: deadline).assumeIsolated().flatMap { reply in
      guard case .error(let error) = reply, !error.isDenial else {
        return self.eventLoop.makeSucceededFuture(connection)
      }
      switch Redirection(reply, from: connection.node) {
      // While the slot is moving, it still belongs to the node that it leaves.
      case .ask, .later: return self.eventLoop.makeSucceededFuture(connection)
      case .moved(let host) where mayBeSentOn:
        let whom = "\(connection.node) names as the node that has \(ClusterSlot(of: key))"
        return self.go(to: host, whom: whom, from: connection).assumeIsolated().flatMap {
          self.examine($0, for: key, mayBeSentOn: false)
        }.nonisolated()
      case .moved, .down, nil:
        connection.close()
        self.refuted.insert(connection.node)
        return self.eventLoop.makeFailedFuture(NotFound("\(connection.node) says \(error.message)"))
      }
    }.nonisolated()
  }

  // MARK: Servers

  /// - Parameters:
  ///   - host: As it is announced.
  ///   - whom: Which node announced it, and as what. In the message it follows "which".
  private func connect(to host: RedisHost, whom: String) -> EventLoopFuture<RedisConnection> {
    let server = endpoint.server(announcedAs: host)
    let reached = endpoint.addressMap[host]
    guard !refuted.contains(reached) else {
      return eventLoop.makeFailedFuture(NotFound("\(host), which \(whom), failed a moment ago"))
    }
    var options = options
    options.connectDeadline = max(deadline - .now(), .nanoseconds(1))
    let connected = RedisConnection.connect(toServer: server, options: options, on: eventLoop)
    return connected.assumeIsolated().flatMapErrorThrowing { error in
      self.refuted.insert(reached)
      guard let error = error as? RedisError, case .connectFailed(let why) = error.reason else { throw error }
      let remedy =
        reached == host
        ? "If this machine has to reach it at another address, use --redis-address-map \(host)=HOST:PORT"
        : "--redis-address-map maps it to \(reached)"
      throw NotFound("can't reach \(host), which \(whom): \(why). \(remedy)")
    }.nonisolated()
  }
}

/// The right server wasn't found at the announced address.
private struct NotFound: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

extension RedisServerError {
  /// Whether the server isn't part of a cluster.
  fileprivate var saysNoCluster: Bool { message.contains("cluster support disabled") }
}

/// The nodes and their slots, according to one node of the cluster.
struct ClusterSlots {
  private let ranges: [(slots: ClosedRange<Int64>, primary: (name: String, port: Int)?)]

  /// - Parameter reply: The reply to CLUSTER SLOTS: ranges, each with its first slot, its last slot, its primary, and
  ///   replicas.
  init(_ reply: RedisReply) throws {
    ranges = try reply.array().map { range in
      let items = try range.array()
      guard items.count >= 3 else {
        throw UnexpectedReply(expected: "a range of slots and its primary", came: range.shape)
      }
      let (low, high) = (try items[0].integer(), try items[1].integer())
      guard low <= high else { throw UnexpectedReply(expected: "a range of slots", came: "\(low) to \(high)") }
      let primary = try items[2].array()
      guard primary.count >= 2, let port = Int(exactly: try primary[1].integer()) else {
        throw UnexpectedReply(expected: "a node's name and port", came: items[2].shape)
      }
      return (low...high, (try primary[0].stringOrNull() ?? "", port))
    }
  }

  /// The nodes that have slots.
  var primaries: Set<RedisHost> {
    Set(ranges.compactMap { range in range.primary.map { RedisHost($0.name, port: $0.port) } })
  }

  /// - Parameter node: The node that was asked. If it doesn't know its own name, this address is used for it.
  func owner(of slot: ClusterSlot, accordingTo node: RedisHost) -> RedisHost? {
    guard let found = ranges.first(where: { $0.slots.contains(Int64(slot.number)) }), let primary = found.primary,
      (1...65535).contains(primary.port)
    else { return nil }
    return RedisHost(["", "?"].contains(primary.name) ? node.name : primary.name, port: primary.port)
  }
}
