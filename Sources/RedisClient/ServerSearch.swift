// From an address that leads to several servers to a conversation with the one that is meant: several are asked in turn, and the
// first answer that holds is taken.
//
// The turn begins anywhere, so that a fleet spreads over all that can be asked, and an attempt after a failed one needn't know what the
// last one found. Nobody who is asked gets more than a share of the time that is left, so that one that is silent doesn't take
// the others' turn away.

import Hiredis
import NIOCore

/// One attempt to reach the server that is meant. Lives on the event loop.
final class ServerSearch {
  /// Whom an address leads to.
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

  /// What went wrong with each that was asked.
  private var complaints: [String] = []
  /// Where the server isn't: nobody else's word changes that within this attempt.
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
    // One share is kept for the server itself.
    let share = TimeAmount.nanoseconds(left.nanoseconds / Int64(asked.count - turn + 1))
    let found =
      switch question {
      case .primary(let group): primary(group, asking: place, within: share)
      case .owner(let key, _): owner(of: key, asking: asked[place], within: share)
      }
    return found.assumeIsolated().flatMapError { error in
      // With wrong words it isn't asked everywhere: that would look like an attack, and the answer is known.
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
            // Several servers that are alone, taken for a cluster, would be several stores.
            case let mode where mode == .standalone || error.saysNoCluster:
              throw NotFound("\(seed) runs without cluster mode: \(self.endpoint.advice(.alone, at: seed))")
            // A service that hides its nodes, or doesn't let this user ask for them: the seed itself has the slot, or
            // says who has.
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
  ///   - host: As it is announced; nil for where the connection leads.
  ///   - connection: Is closed unless it leads there.
  private func go(
    to host: RedisHost?, whom: String, from connection: RedisConnection
  ) -> EventLoopFuture<RedisConnection> {
    guard let host, endpoint.server(announcedAs: host).address != connection.server.address else {
      return eventLoop.makeSucceededFuture(connection)
    }
    connection.close()
    return connect(to: host, whom: whom)
  }

  /// Whether this node serves the slot, by its own word: who has it may have changed since somebody said so, and a node
  /// that is cut off from its cluster still says that it is itself.
  /// - Parameter mayBeSentOn: Whether to go where the node says that the slot is. Not twice: two that name each other
  ///   are asked again later.
  private func examine(
    _ connection: RedisConnection, for key: String, mayBeSentOn: Bool
  ) -> EventLoopFuture<RedisConnection> {
    // A read that all users of Sluice are allowed, of a key that never is there.
    connection.send(RedisCommand("HGET", key, "owner"), deadline: deadline).assumeIsolated().flatMap { reply in
      guard case .error(let error) = reply, !error.isDenial else {
        return self.eventLoop.makeSucceededFuture(connection)
      }
      switch Redirection(reply, from: connection.node) {
      // It moves, and as long as it does the node that it leaves has it.
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
  ///   - whom: Who announced it as what, to follow "which".
  private func connect(to host: RedisHost, whom: String) -> EventLoopFuture<RedisConnection> {
    let server = endpoint.server(announcedAs: host)
    let reached = endpoint.addressMap[host]
    guard !refuted.contains(reached) else { return eventLoop.makeFailedFuture(NotFound("\(host) is named again")) }
    var options = options
    options.connectDeadline = max(deadline - .now(), .nanoseconds(1))
    let connected = RedisConnection.connect(toServer: server, options: options, on: eventLoop)
    return connected.assumeIsolated().flatMapErrorThrowing { error in
      self.refuted.insert(reached)
      guard let error = error as? RedisError, case .connectFailed(let why) = error.reason else { throw error }
      let remedy =
        reached == host
        ? "If this machine has to reach it at another address, say --redis-address-map \(host)=HOST:PORT"
        : "By --redis-address-map it is reached at \(reached)"
      throw NotFound("can't reach \(host), which \(whom): \(why). \(remedy)")
    }.nonisolated()
  }
}

/// The server that is meant wasn't found where somebody said that it is.
private struct NotFound: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

extension RedisServerError {
  /// Whether it is a server by itself.
  fileprivate var saysNoCluster: Bool { message.contains("cluster support disabled") }
}

/// Who has which slots, as one node of the cluster sees it.
struct ClusterSlots {
  private let ranges: [(slots: ClosedRange<Int64>, primary: (name: String, port: Int)?)]

  /// - Parameter reply: To CLUSTER SLOTS: ranges, each with its first slot, its last one, its primary, and replicas.
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

  /// - Parameter node: Who was asked: a node that doesn't know its own name is reached by the one that it was asked by.
  func owner(of slot: ClusterSlot, accordingTo node: RedisHost) -> RedisHost? {
    guard let found = ranges.first(where: { $0.slots.contains(Int64(slot.number)) }), let primary = found.primary,
      (1...65535).contains(primary.port)
    else { return nil }
    return RedisHost(["", "?"].contains(primary.name) ? node.name : primary.name, port: primary.port)
  }
}
