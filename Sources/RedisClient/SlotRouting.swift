// Sends commands for one slot of a cluster to the node that has the slot now, and follows the slot when it moves.
//
// A redirected command wasn't carried out, so it is sent again to the right node: at once after MOVED and ASK, after a
// growing pause after TRYAGAIN and CLUSTERDOWN. After its deadline it has failed as not sent. A node that answers
// CLUSTERDOWN may be cut off from the others, so they are asked which node has the slot. All other replies are passed
// on unchanged, so a normal reply costs only a check of its kind.

import Hiredis
import NIOCore

extension Supervision {
  private static let firstPause = TimeAmount.milliseconds(10)
  private static let mostDoublings = 5

  /// Sends commands, and sends redirected ones again.
  func route(
    _ encoded: ByteBuffer, named name: String, expecting count: Int, deadline: NIODeadline
  ) -> EventLoopFuture<[RedisReply]> {
    use {
      route(encoded, named: name, expecting: count, deadline: deadline, on: $0, isBoundToServer: false)
    }
  }

  /// The same, starting on this connection.
  func route(
    _ encoded: ByteBuffer, named name: String, expecting count: Int, deadline: NIODeadline,
    on connection: RedisConnection, isBoundToServer: Bool
  ) -> EventLoopFuture<[RedisReply]> {
    let promise = eventLoop.makePromise(of: [RedisReply].self)
    connection.send(encoded: encoded, named: name, expecting: count, deadline: deadline).assumeIsolated()
      .whenComplete { result in
        guard case .success(let replies) = result, replies.contains(where: \.isError) else {
          promise.completeWith(result)
          return
        }
        let node = connection.node
        let redirections = replies.map { Redirection($0, from: node) }
        guard redirections.contains(where: { $0 != nil }),
          let commands = RedirectedCommands(encoded, replies, redirections)
        else {
          promise.succeed(replies)
          return
        }
        let group = Redirected(
          commands, name: name, deadline: deadline, isBoundToServer: isBoundToServer, promise: promise)
        self.begin(group, refusedBy: connection)
      }
    return promise.futureResult
  }

  private func begin(_ group: Redirected, refusedBy connection: RedisConnection) {
    guard redirected < options.waitingLimit else {
      end(group, .tooMuchWaiting(limit: "\(options.waitingLimit) redirected commands"))
      return
    }
    redirected += 1
    group.promise.futureResult.assumeIsolated().whenComplete { _ in self.redirected -= 1 }
    goOn(group, refusedBy: connection)
  }

  private func goOn(_ group: Redirected, refusedBy connection: RedisConnection) {
    guard let next = group.commands.next else {
      group.promise.succeed(group.commands.replies)
      return
    }
    group.rounds += 1
    // If two nodes redirect to each other, the pauses are the same as after TRYAGAIN.
    let isAtOnce = group.rounds <= 2 && next.isElsewhere
    if next == .down { searchAnew(insteadOf: connection) }
    let doublings = min(group.rounds - 1, Self.mostDoublings)
    let pause: TimeAmount = isAtOnce ? .zero : .nanoseconds(Self.firstPause.nanoseconds << Int64(doublings))
    guard NIODeadline.now() + pause < group.deadline else {
      end(group, .redirected(group.commands.refusal))
      return
    }
    guard isAtOnce else {
      eventLoop.assumeIsolated().scheduleTask(in: pause) { self.follow(next, group, refusedBy: connection) }
      return
    }
    follow(next, group, refusedBy: connection)
  }

  private func follow(_ next: Redirection, _ group: Redirected, refusedBy connection: RedisConnection) {
    if group.isBoundToServer, next.isElsewhere {
      // The client's connection still follows the slot. A caller that needs a certain server can check it then.
      if case .moved(let host) = next { _ = moved(to: host, accordingTo: connection) }
      end(group, .redirected(group.commands.refusal))
      return
    }
    let isAsking = if case .ask = next { true } else { false }
    let found: EventLoopFuture<RedisConnection> =
      switch next {
      case .moved(let host): moved(to: host, accordingTo: connection)
      case .ask(let host): other(host)
      // If the caller needs a certain server, the commands are repeated on it.
      case .later where group.isBoundToServer, .down where group.isBoundToServer:
        eventLoop.makeSucceededFuture(connection)
      case .later, .down: use { eventLoop.makeSucceededFuture($0) }
      }
    // The deadline of the connection attempt may be later.
    let late = eventLoop.assumeIsolated().scheduleTask(deadline: group.deadline) {
      self.end(group, .redirected(group.commands.refusal))
    }
    found.assumeIsolated().whenComplete { result in
      late.cancel()
      switch result {
      case .success(let connection): self.send(group, on: connection, asking: isAsking)
      case .failure(let error): self.end(group, error)
      }
    }
  }

  private func send(_ group: Redirected, on connection: RedisConnection, asking: Bool) {
    // The caller gets the error that it wasn't sent.
    guard NIODeadline.now() < group.deadline else {
      end(group, .redirected(group.commands.refusal))
      return
    }
    let (buffer, count) = group.commands.takeNext(asking: asking)
    connection.send(encoded: buffer, named: group.name, expecting: count, deadline: group.deadline).assumeIsolated()
      .whenComplete { result in
        switch result {
        case .success(let replies):
          group.commands.answered(replies, asked: asking, by: connection.node)
          self.goOn(group, refusedBy: connection)
        case .failure(let error): self.end(group, error)
        }
      }
  }

  /// Ends commands that can't be sent any more. Those that weren't carried out have failed as not sent. If some were
  /// carried out, the replies show which.
  private func end(_ group: Redirected, _ reason: RedisError.Reason) {
    end(group, RedisError(reason, outcome: .notSent))
  }

  private func end(_ group: Redirected, _ error: any Error) {
    if let error = error as? RedisError, error.outcome == .notSent, group.commands.isPartlyDone {
      group.promise.succeed(group.commands.replies)
    } else {
      group.promise.fail(error)
    }
  }
}

/// A group of commands that is being redirected.
private final class Redirected {
  var commands: RedirectedCommands
  let name: String
  let deadline: NIODeadline
  let isBoundToServer: Bool
  let promise: EventLoopPromise<[RedisReply]>
  var rounds = 0

  init(
    _ commands: RedirectedCommands, name: String, deadline: NIODeadline, isBoundToServer: Bool,
    promise: EventLoopPromise<[RedisReply]>
  ) {
    self.commands = commands
    self.name = name
    self.deadline = deadline
    self.isBoundToServer = isBoundToServer
    self.promise = promise
  }
}

extension RedisReply {
  fileprivate var isError: Bool { if case .error = self { true } else { false } }
}

extension RedisConnection {
  /// The server, by its reachable address.
  var node: RedisHost {
    switch server.address {
    case .tcp(let host, let port): RedisHost(host, port: port)
    // The nodes of a cluster always have TCP addresses.
    case .unix, .sentinels, .cluster: RedisHost("", port: 0)
    }
  }
}
