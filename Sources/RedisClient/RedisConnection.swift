// One connection to one Redis, over one NIO channel.
//
// Everything happens on the channel's event loop. Commands may be sent from any thread. On the event loop itself there
// is no hop, which the ingest node's group commit relies on. After any error the connection is closed for good; see
// Conversation.

public import Hiredis
internal import NIOPosix
internal import NIOSSL
internal import NIOTLS
public import NIOCore

/// One open connection to a Redis. After a failure it can't be used again: open a new one. It stays open until it fails
/// or ``close()`` is called, even if this object is no longer retained.
public final class RedisConnection: Sendable {
  /// The channel's event loop: sending from it needs no hop.
  public let eventLoop: any EventLoop
  /// Completes when the connection is closed, for whatever reason.
  public let closed: EventLoopFuture<Void>
  /// The server of this connection, whatever kind the address was.
  public let server: RedisEndpoint
  /// Commands of the greeting that the server denies to this user.
  public let denied: [DeniedCommand]
  /// The server's program; nil if the server doesn't report it.
  public let program: ServerIdentity?

  private let channel: any Channel
  private let handler: NIOLoopBound<ConversationHandler>
  let commandDeadline: TimeAmount

  private init(
    channel: any Channel, server: RedisEndpoint, handler: NIOLoopBound<ConversationHandler>,
    commandDeadline: TimeAmount, greeting: Greeting = Greeting()
  ) {
    denied = greeting.denied
    program = greeting.program
    self.channel = channel
    self.server = server
    self.handler = handler
    self.commandDeadline = commandDeadline
    eventLoop = channel.eventLoop
    closed = channel.closeFuture
  }

  /// The facts from the replies to the greeting.
  private struct Greeting {
    var denied: [DeniedCommand] = []
    var program: ServerIdentity?
  }

  private convenience init(_ connection: RedisConnection, _ greeting: Greeting) {
    self.init(
      channel: connection.channel, server: connection.server, handler: connection.handler,
      commandDeadline: connection.commandDeadline, greeting: greeting)
  }

  /// Why the connection ended; nil if it is open. Only on the event loop.
  var ended: RedisError? { handler.value.ended }
  /// Whether the peer closed the connection while no command waited for a reply. Only on the event loop.
  var wasClosedIdle: Bool { handler.value.wasClosedIdle }
  /// How many times something was sent on the connection. Only on the event loop.
  var sends: Int { handler.value.sends }
  /// Whether nothing was received from the server yet. Only on the event loop.
  private var hasHeardNothing: Bool { handler.value.hasHeardNothing }
  /// The error that the peer sent before it closed the connection, instead of the expected replies. Only on the event
  /// loop.
  private var lastWords: RedisServerError? { handler.value.lastWords }
  /// Whether the connection was closed by the peer or failed in the network. Only on the event loop.
  private var hasLostPeer: Bool { handler.value.hasLostPeer }
  /// Completes when the server's certificate was checked. A password must not be sent before. Only on the event loop.
  private var identified: EventLoopFuture<Void> { handler.value.identified }

  // MARK: Connecting

  /// Connects and sends the greeting: TLS, AUTH, SELECT and a name for `CLIENT LIST`. If the address leads to several
  /// servers, the right one is found first.
  ///
  /// The future fails, within the options' connect deadline, with a ``RedisError``. Its reason is
  /// ``RedisError/Reason/greetingRefused(_:)`` if the server refused the greeting,
  /// ``RedisError/Reason/serverTooOld(_:)``, or ``RedisError/Reason/connectFailed(_:)`` for everything else. Its
  /// outcome is always "not sent".
  ///
  /// If the options require a primary, or if Sentinels name one, the connection ends as soon as the server answers that
  /// it isn't the primary any more, or that it is loading its data (READONLY, MASTERDOWN, UNBLOCKED, LOADING; a cluster
  /// node also MOVED, ASK, TRYAGAIN, CLUSTERDOWN). The caller then has to connect to the address again, which may lead
  /// to another server by then. With Sentinel the connection also ends within seconds after the sentinels name another
  /// primary.
  /// - Parameter key: In a cluster: a key that selects the node with its slot. The connection ends as soon as that node
  ///   answers that it doesn't have the slot, that the slot is moving, or that the cluster is down (MOVED, ASK,
  ///   TRYAGAIN, CLUSTERDOWN). ``RedisClient`` follows the slot. Nothing is ever stored under this key.
  public static func connect(
    to endpoint: RedisEndpoint, options: RedisOptions = RedisOptions(), routedBy key: String? = nil,
    on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let found = find(endpoint, options: options, routedBy: key, on: eventLoop)
    guard case .cluster = endpoint.address else { return found }
    return found.map { $0.endsWithoutSlot() }
  }

  /// The same as ``connect(to:options:routedBy:on:)``, but redirections are returned as replies.
  static func find(
    _ endpoint: RedisEndpoint, options: RedisOptions, routedBy key: String?, on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let question: ServerSearch.Question
    switch (endpoint.address, key) {
    case (.tcp, _), (.unix, _):
      let deadline = NIODeadline.now() + options.connectDeadline
      let found = connect(toServer: endpoint, options: options, needsPrimary: options.needsPrimary, on: eventLoop)
      // The address of a single server may lead to a cluster of one shard. After a failover its old primary answers
      // MOVED or CLUSTERDOWN instead of READONLY.
      return !options.needsPrimary
        ? found
        : found.flatMap { $0.expectAllSlots(askingFor: key, deadline: deadline) }.map { $0.endsWithoutSlot() }
    case (.sentinels(let group), _): question = .primary(group)
    case (.cluster(let seeds), let key?): question = .owner(of: key, seeds: seeds)
    case (.cluster, nil):
      return eventLoop.makeFailedFuture(
        RedisError(
          .connectFailed("\(endpoint): a cluster address needs a Redis key to choose the server"), outcome: .notSent))
    }
    let deadline = NIODeadline.now() + options.connectDeadline
    return eventLoop.flatSubmit {
      ServerSearch(question, endpoint: endpoint, options: options, deadline: deadline, eventLoop: eventLoop).run()
    }
  }

  /// From now on the connection ends when the server answers that another node, or none, serves the keys' slot.
  private func endsWithoutSlot() -> RedisConnection {
    handler.value.needsSlot = true
    return self
  }

  /// - Parameters:
  ///   - endpoint: The address of one server.
  ///   - needsPrimary: Whether the server must report that it is a primary.
  static func connect(
    toServer endpoint: RedisEndpoint, options: RedisOptions, needsPrimary: Bool = false, on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let deadline = NIODeadline.now() + options.connectDeadline
    var options = options
    options.needsPrimary = needsPrimary
    if eventLoop.inEventLoop { return connect(to: endpoint, options: options, deadline: deadline, on: eventLoop) }
    return eventLoop.flatSubmit { [options] in
      connect(to: endpoint, options: options, deadline: deadline, on: eventLoop)
    }
  }

  private static func connect(
    to endpoint: RedisEndpoint, options: RedisOptions, deadline: NIODeadline, on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let connected = eventLoop.makePromise(of: RedisConnection.self)
    var isOpen = false
    let opened = open(endpoint, options: options, on: eventLoop)
    // One deadline for all steps. A connection that opens after the deadline is closed at once.
    let late = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
      let what =
        !isOpen
        ? "couldn't be reached"
        : endpoint.usesTLS
          ? "took the connection, but TLS or Redis gave no answer (is this its tls-port?)"
          : "took the connection, but gave no answer"
      connected.fail(
        RedisError(
          .connectFailed("\(endpoint) \(what) within \(options.connectDeadline.words)"), outcome: .notSent))
    }
    opened.assumeIsolated().flatMap { connection -> EventLoopFuture<RedisConnection> in
      isOpen = true
      // The greeting's own deadline is much later, so that the deadline above always decides.
      return connection.identified.flatMap {
        connection.greet(endpoint, options: options, deadline: deadline + .minutes(1))
      }.map { RedisConnection(connection, $0) }.flatMapError { error in
        explain(error, of: connection, endpoint, options: options)
      }
    }.whenComplete { result in
      late.cancel()
      switch result {
      case .success(let connection): connected.succeed(connection)
      case .failure(let error): connected.fail(asConnectError(error, endpoint: endpoint))
      }
    }
    connected.futureResult.whenFailure { _ in opened.whenSuccess { $0.close() } }
    return connected.futureResult
  }

  /// Finds out why a server has closed the connection before it answered the greeting. A server that can't accept
  /// another client sends an error and closes. But if commands were sent to it, TCP resets the connection and the error
  /// is lost. So this opens another connection, sends nothing, and reads the error.
  private static func explain(
    _ error: any Error, of connection: RedisConnection, _ endpoint: RedisEndpoint, options: RedisOptions
  ) -> EventLoopFuture<RedisConnection> {
    let eventLoop = connection.eventLoop
    guard let error = error as? RedisError, case .closed(let why) = error.reason, connection.hasLostPeer else {
      return eventLoop.makeFailedFuture(error)
    }
    if let words = connection.lastWords {
      let reason = words.code == "ERR" ? RedisError.Reason.turnedAway(words) : .greetingRefused(words)
      return eventLoop.makeFailedFuture(RedisError(reason, outcome: .notSent))
    }
    guard connection.hasHeardNothing else { return eventLoop.makeFailedFuture(error) }
    let doubt =
      endpoint.usesTLS
      ? ", before TLS was set up: Redis does so when it has as many clients as maxclients allows"
      : " without an answer. Is this Redis's TLS port (rediss://)?"
    let unexplained = RedisError(.closed(why + doubt), outcome: .notSent)
    // Before TLS is set up Redis sends no error.
    guard !endpoint.usesTLS else { return eventLoop.makeFailedFuture(unexplained) }
    return open(endpoint, options: options, on: eventLoop).assumeIsolated().flatMap { silent in
      let late = eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(200)) { silent.close() }
      return silent.closed.assumeIsolated().flatMapThrowing { _ -> RedisConnection in
        late.cancel()
        if let ended = silent.ended, case .turnedAway = ended.reason { throw ended }
        throw unexplained
      }.nonisolated()
    }.nonisolated()
  }

  private static func asConnectError(_ error: any Error, endpoint: RedisEndpoint) -> RedisError {
    guard let error = error as? RedisError else {
      return RedisError(.connectFailed("\(endpoint): \(endpoint.words(of: error))"), outcome: .notSent)
    }
    switch error.reason {
    case .greetingRefused, .serverTooOld: return error
    case .turnedAway(let answer):
      return RedisError(.connectFailed("\(endpoint) rejected the connection: \(answer.message)"), outcome: .notSent)
    case .connectFailed(let why), .closed(let why):
      return RedisError(.connectFailed("\(endpoint): \(why)"), outcome: .notSent)
    default: break
    }
    return RedisError(.connectFailed("\(endpoint): \(error.with(outcome: .notSent))"), outcome: .notSent)
  }

  /// Only on the event loop.
  private static func open(
    _ endpoint: RedisEndpoint, options: RedisOptions, on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let tls: (context: NIOSSLContext, name: String?)?
    do {
      tls = try endpoint.tls()
    } catch {
      return eventLoop.makeFailedFuture(RedisError(.closed("\(error)"), outcome: .notSent))
    }
    // One handler per channel: a name may have several addresses, and each is tried with a separate channel. The
    // handler isn't looked up in the pipeline afterwards: if the peer closes at once the pipeline is already empty, and
    // the handler has the reason.
    let handlers = NIOLoopBoundBox([ObjectIdentifier: ConversationHandler](), eventLoop: eventLoop)
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(options.connectDeadline)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let handler = ConversationHandler(
            eventLoop: channel.eventLoop, options: options, endpoint: endpoint, certificateName: tls?.name)
          handlers.value[ObjectIdentifier(channel)] = handler
          if let tls {
            try channel.pipeline.syncOperations.addHandler(
              try NIOSSLClientHandler(context: tls.context, serverHostname: tls.name))
          }
          try channel.pipeline.syncOperations.addHandler(handler)
        }
      }
    let channel: EventLoopFuture<any Channel> =
      switch endpoint.address {
      case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
      case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
      case .sentinels, .cluster: preconditionFailure("expected one server's address, got \(endpoint)")
      }
    return channel.map { channel in
      guard let handler = handlers.value[ObjectIdentifier(channel)] else {
        preconditionFailure("a channel is connected that was never set up")
      }
      return RedisConnection(
        channel: channel, server: endpoint, handler: NIOLoopBound(handler, eventLoop: eventLoop),
        commandDeadline: options.commandDeadline)
    }
  }

  private func greet(
    _ endpoint: RedisEndpoint, options: RedisOptions, deadline: NIODeadline
  ) -> EventLoopFuture<Greeting> {
    var commands: [RedisCommand] = []
    do {
      let (user, password) = try endpoint.credentials()
      if let password {
        commands.append(
          user.isEmpty ? RedisCommand("AUTH", password.revealed) : RedisCommand("AUTH", user, password.revealed))
      }
    } catch {
      return eventLoop.makeFailedFuture(RedisError(.closed("\(error)"), outcome: .notSent))
    }
    if endpoint.database != 0 { commands.append(RedisCommand("SELECT", endpoint.database)) }
    let named = commands.count
    commands.append(RedisCommand("CLIENT", "SETNAME", options.name))
    // Sent with the greeting. An older server would only report that a script can't be compiled. A replica, or a server
    // that is loading, would accept the connection and then refuse every command.
    var questions = [RedisCommand("INFO", "server")]
    if options.needsPrimary { questions += [RedisCommand("INFO", "replication"), RedisCommand("PING")] }
    let count = commands.count
    return send(commands + questions, deadline: deadline).flatMapThrowing { replies in
      let greeting = try Self.greeting(Array(replies.prefix(count + 1)), named: named, endpoint)
      if options.needsPrimary { try Self.expectPrimary(InfoFields(replies[count + 1]), ping: replies[count + 2]) }
      return greeting
    }.flatMap { greeting in
      guard greeting.denied.contains(where: { $0.name == "INFO" }) else {
        return self.eventLoop.makeCompletedFuture {
          try Self.expectVersion(greeting.program, endpoint)
          return greeting
        }
      }
      return self.send(ServerHello.question, deadline: deadline).flatMapThrowing { reply in
        // An unreadable reply is treated like a missing one: unknown facts aren't checked.
        let hello = try? ServerHello(reply)
        var greeting = greeting
        greeting.program = hello.flatMap { ServerIdentity($0) }
        try Self.expectVersion(greeting.program, endpoint)
        if options.needsPrimary, hello?.role == "replica" {
          throw RedisError(.connectFailed("expected a primary, but it calls itself replica"), outcome: .notSent)
        }
        return greeting
      }
    }
  }

  /// - Parameter replication: Nil if the server doesn't report it.
  private static func expectPrimary(_ replication: InfoFields?, ping: RedisReply) throws {
    if let why = ping.endOfService { throw RedisError(.connectFailed(why), outcome: .notSent) }
    guard let replication, replication["role"] == "slave" else { return }
    let primary = [replication["master_host"], replication["master_port"]].compactMap { $0 }.joined(separator: ":")
    throw RedisError(
      .connectFailed("expected a primary, but it calls itself slave, of \(primary)"), outcome: .notSent)
  }

  /// - Parameters:
  ///   - replies: The replies to the greeting; the last is the reply to INFO.
  ///   - named: The index of CLIENT SETNAME.
  private static func greeting(_ replies: [RedisReply], named: Int, _ endpoint: RedisEndpoint) throws -> Greeting {
    var greeting = Greeting()
    for (index, reply) in replies.dropLast().enumerated() {
      switch reply {
      case .status("OK"): continue
      // The name is optional.
      case .error(let error) where index == named && error.isDenial:
        greeting.denied.append(DeniedCommand("CLIENT SETNAME", error, consequence: "CLIENT LIST shows no name"))
      case .error(let error) where endpoint.database != 0 && error.message.contains("cluster mode"):
        throw RedisError(
          .connectFailed("it is a node of a cluster, which has database 0 only: \(endpoint.advice(.cluster))"),
          outcome: .notSent)
      case .error(let error): throw RedisError(.greetingRefused(error), outcome: .notSent)
      default: throw RedisError(.closed("expected OK to the greeting, got \(reply.shape)"), outcome: .notSent)
      }
    }
    let info = replies[replies.count - 1]
    if case .error(let error) = info, error.isDenial {
      greeting.denied.append(
        DeniedCommand("INFO", error, consequence: "Redis's memory use and replicas are unknown"))
    }
    greeting.program = InfoFields(info).flatMap { ServerIdentity($0) }
    return greeting
  }

  /// - Parameter program: Nil if the server doesn't report it, or is busy.
  private static func expectVersion(_ program: ServerIdentity?, _ endpoint: RedisEndpoint) throws {
    guard let program, let major = program.compatible.split(separator: ".").first.flatMap({ Int($0) }),
      major < oldestVersion
    else { return }
    throw RedisError(
      .serverTooOld("\(program) at \(endpoint): Sluice needs Redis \(oldestVersion).0 or later, or Valkey"),
      outcome: .notSent)
  }

  /// The first version that supports scripts with flags, which all commands rely on.
  private static let oldestVersion = 7

  // MARK: Sending

  /// Sends one command. The future returns its reply, which may be an error reply, or fails with ``RedisError``.
  public func send(_ command: RedisCommand, within limit: TimeAmount? = nil) -> EventLoopFuture<RedisReply> {
    send([command], deadline: .now() + (limit ?? commandDeadline)).map { $0[0] }
  }

  /// Sends several commands in one write. The future returns their replies in the same order, including error replies.
  /// It fails with ``RedisError`` unless all replies arrive.
  public func send(_ commands: [RedisCommand], within limit: TimeAmount? = nil) -> EventLoopFuture<[RedisReply]> {
    send(commands, deadline: .now() + (limit ?? commandDeadline))
  }

  func send(_ command: RedisCommand, deadline: NIODeadline) -> EventLoopFuture<RedisReply> {
    send([command], deadline: deadline).map { $0[0] }
  }

  func send(_ commands: [RedisCommand], deadline: NIODeadline) -> EventLoopFuture<[RedisReply]> {
    guard !commands.isEmpty else { return eventLoop.makeSucceededFuture([]) }
    return send(encoded: commands.encoded, named: commands.name, expecting: commands.count, deadline: deadline)
  }

  /// Sends commands that are already encoded, for the hot path.
  /// - Parameters:
  ///   - buffer: Whole commands in RESP.
  ///   - name: For messages. Must not contain a secret argument.
  ///   - expected: The number of commands, which is the number of replies: at least 1.
  public func send(
    encoded buffer: ByteBuffer, named name: String, expecting expected: Int, deadline: NIODeadline
  ) -> EventLoopFuture<[RedisReply]> {
    let promise = eventLoop.makePromise(of: [RedisReply].self)
    if eventLoop.inEventLoop {
      handler.value.send(buffer, named: name, expecting: expected, deadline: deadline, promise: promise)
    } else {
      eventLoop.execute { [handler] in
        handler.value.send(buffer, named: name, expecting: expected, deadline: deadline, promise: promise)
      }
    }
    return promise.futureResult
  }

  /// Closes the connection. Waiting commands fail with an unknown outcome. Harmless if it is already closed.
  public func close() {
    if eventLoop.inEventLoop {
      handler.value.end(.shutDown)
    } else {
      eventLoop.execute { [handler] in handler.value.end(.shutDown) }
    }
  }

  /// Closes the connection for a reason. Only on the event loop.
  func end(_ reason: RedisError.Reason) { handler.value.end(reason) }

  /// Closes the connection when everything that was sent so far has been answered. Only on the event loop.
  func retire() {
    send(RedisCommand("PING"), deadline: .now() + commandDeadline).whenComplete { _ in self.close() }
  }

  /// From now on the connection ends when these sentinels name another primary. Only on the event loop.
  func follow(
    _ group: SentinelGroup, of endpoint: RedisEndpoint, options: RedisOptions, heard: NamedPrimary, from place: Int
  ) {
    handler.value.needsPrimary = true
    PrimaryWatch(self, group: group, endpoint: endpoint, options: options, heard: heard, from: place).start()
  }
}

extension [RedisCommand] {
  /// All commands, encoded in one buffer.
  var encoded: ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: reduce(0) { $0 + $1.encoded.count })
    for command in self { buffer.writeBytes(command.encoded) }
    return buffer
  }

  /// For messages.
  var name: String { count == 1 ? self[0].name : "\(self[0].name) and \(count - 1) more" }
}

extension TimeAmount {
  var words: String { "\(Double(nanoseconds / 1_000_000) / 1_000) s" }
}

/// Carries out the actions of the conversation's state.
final class ConversationHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var conversation: Conversation<EventLoopPromise<[RedisReply]>>
  private let eventLoop: any EventLoop
  private var context: ChannelHandlerContext?
  /// Whether the connection ends when the server answers that it isn't a primary.
  var needsPrimary: Bool
  /// Whether the connection ends when the server answers that it doesn't serve the slot.
  var needsSlot = false
  /// Why nothing more is sent. The connection ends when all waiting commands have been answered.
  private var leaving: RedisError.Reason?
  /// How many times something was sent.
  private(set) var sends = 0
  /// Whether the connection ended because the peer closed it while no command waited for a reply.
  private(set) var wasClosedIdle = false
  private var alarm: (at: NIODeadline, task: Scheduled<Void>)?
  /// True after an alarm that was so late that the reply may be in the socket, unread. Then the socket is read once more
  /// before the deadline is checked.
  private var looksOnceMore = false
  /// If the alarm is later than this, the event loop was busy.
  private static let lateness = TimeAmount.milliseconds(50)
  /// Time to read the socket once more.
  private static let look = TimeAmount.milliseconds(5)

  private let endpoint: RedisEndpoint
  private let certificateName: String?
  private var identity: EventLoopPromise<Void>?
  private(set) var hasHeardNothing = true
  private(set) var hasLostPeer = false
  private(set) var lastWords: RedisServerError?

  /// - Parameter certificateName: A name that the server's certificate must contain; nil if none is required.
  init(eventLoop: any EventLoop, options: RedisOptions, endpoint: RedisEndpoint, certificateName: String?) {
    self.eventLoop = eventLoop
    self.endpoint = endpoint
    self.certificateName = certificateName
    needsPrimary = options.needsPrimary
    conversation = Conversation(
      limits: options.replyLimits, waitingLimit: options.waitingLimit, waitingBytesLimit: options.waitingBytesLimit)
  }

  var ended: RedisError? { conversation.ended }

  var identified: EventLoopFuture<Void> { identity?.futureResult ?? eventLoop.makeSucceededVoidFuture() }

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    if certificateName != nil { identity = eventLoop.makePromise() }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    end(.closed("this process closed it"))
    self.context = nil
  }

  func send(
    _ buffer: ByteBuffer, named name: String, expecting expected: Int, deadline: NIODeadline,
    promise: EventLoopPromise<[RedisReply]>
  ) {
    if let leaving { return promise.fail(RedisError(leaving, outcome: .notSent)) }
    sends &+= 1
    do throws(RedisError) {
      try conversation.willSend(
        name, expecting: expected, bytes: buffer.readableBytes, now: .now(), deadline: deadline, waiter: promise)
    } catch {
      promise.fail(error)
      return
    }
    setAlarm(noLaterThan: deadline)
    // A failed write closes the channel, which fails the promise together with all others.
    context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    hasHeardNothing = false
    // All bytes are processed before any action is carried out, because a caller may send or close when it gets its
    // reply.
    let actions = unwrapInboundIn(data).withUnsafeReadableBytes { conversation.received($0) }
    for action in actions { carryOut(action) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if conversation.ended == nil, conversation.isIdle { wasClosedIdle = true }
    if conversation.ended == nil { noteLostPeer() }
    end(.closed(RedisEndpoint.peerClosed))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let words = endpoint.words(of: error)
    if error is IOError || words == RedisEndpoint.peerClosed { noteLostPeer() }
    end(.closed(words))
  }

  private func noteLostPeer() {
    hasLostPeer = true
    lastWords = lastWords ?? conversation.firstError
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted = event, let certificateName {
      if (try? context.pipeline.syncOperations.nioSSL_peerCertificate())?.isFor(certificateName) ?? false {
        identity?.succeed()
      } else {
        end(.closed(endpoint.otherName))
      }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func end(_ reason: RedisError.Reason) {
    if conversation.ended == nil { carryOut(conversation.fail(reason)) }
  }

  private func carryOut(_ action: Conversation<EventLoopPromise<[RedisReply]>>.Action) {
    switch action {
    case .answer(let promise, let replies):
      // The values from before the promise succeeds: its callbacks may set these flags, for later replies only.
      let (needsPrimary, needsSlot) = (needsPrimary, needsSlot)
      promise.succeed(replies)
      for reply in replies where needsPrimary || needsSlot {
        // Earlier commands are still answered, usually with the same error. If the connection were closed now their
        // outcomes would be unknown.
        let why = (needsPrimary ? reply.endOfService : nil) ?? (needsSlot ? reply.endOfSlot : nil)
        if let why { leaving = leaving ?? .closed(why) }
      }
      if let leaving, conversation.isIdle { end(leaving) }
    case .end(let error, let promises):
      alarm?.task.cancel()
      alarm = nil
      identity?.fail(error)
      // Closed before the promises fail, so that their callbacks don't see a connection that only seems to be open.
      context?.close(promise: nil)
      for promise in promises { promise.fail(error) }
    }
  }

  /// One timer for all waiting commands. A reply, the common case, doesn't move the timer: it fires, finds the next
  /// deadline, and is set again.
  private func setAlarm(noLaterThan deadline: NIODeadline) {
    if let alarm, alarm.at <= deadline { return }
    alarm?.task.cancel()
    let task = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.alarmRang() }
    alarm = (deadline, task)
  }

  private func alarmRang() {
    let due = alarm?.at ?? .now()
    alarm = nil
    // If the event loop was busy, timers run before the socket's events. Without another read of the socket, a reply
    // that arrived in time would count as late, and the connection would be closed with all other commands on it.
    if !looksOnceMore, NIODeadline.now() - due > Self.lateness {
      looksOnceMore = true
      return setAlarm(noLaterThan: .now() + Self.look)
    }
    looksOnceMore = false
    if let action = conversation.timePassed(to: .now()) { carryOut(action) }
    if let next = conversation.nextDeadline { setAlarm(noLaterThan: next) }
  }
}

extension RedisReply {
  /// Why this server can't be used any more: it isn't a primary, or it has no data yet. Nil if it can.
  fileprivate var endOfService: String? {
    guard case .error(let error) = self else { return nil }
    return switch error.code {
    case "READONLY", "UNBLOCKED": "the server isn't the primary any more: \(error.code)"
    case "MASTERDOWN": "the server is a replica that has lost its primary: MASTERDOWN"
    case "LOADING": "the server is loading its data: LOADING"
    default: nil
    }
  }

  /// Why this server doesn't serve the slot any more. Nil if it does.
  var endOfSlot: String? {
    guard case .error(let error) = self else { return nil }
    return switch error.code {
    case "MOVED": "the keys' slot is at another node of the cluster now: \(error.message)"
    case "ASK", "TRYAGAIN": "the keys' slot is moving to another node of the cluster: \(error.message)"
    case "CLUSTERDOWN": "the cluster is down, as far as this node knows: \(error.message)"
    default: nil
    }
  }
}
