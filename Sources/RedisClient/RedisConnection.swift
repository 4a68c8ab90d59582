// One conversation with one Redis over one NIO channel.
//
// Everything happens on the channel's event loop. Commands may be sent from anywhere; on the loop itself nothing hops, which is
// what the ingest node's group commit relies on. When anything goes wrong the connection is closed for good; see Conversation.

public import Hiredis
internal import NIOPosix
internal import NIOSSL
public import NIOCore

/// One open conversation with a Redis. When it has failed it stays failed: make a new one. It stays open until it fails or
/// ``close()`` is called, whether or not anybody holds this object.
public final class RedisConnection: Sendable {
  /// The channel's event loop: sending from here costs no hop.
  public let eventLoop: any EventLoop
  /// Completes when the conversation is over, however it ended.
  public let closed: EventLoopFuture<Void>
  /// The one server that this leads to, whatever the address was.
  public let server: RedisEndpoint
  /// What the greeting would have used, and the server doesn't let this user have.
  public let denied: [DeniedCommand]

  private let channel: any Channel
  private let handler: NIOLoopBound<ConversationHandler>
  let commandDeadline: TimeAmount

  private init(
    channel: any Channel, server: RedisEndpoint, handler: NIOLoopBound<ConversationHandler>,
    commandDeadline: TimeAmount, denied: [DeniedCommand] = []
  ) {
    self.denied = denied
    self.channel = channel
    self.server = server
    self.handler = handler
    self.commandDeadline = commandDeadline
    eventLoop = channel.eventLoop
    closed = channel.closeFuture
  }

  private convenience init(_ greeted: RedisConnection, denied: [DeniedCommand]) {
    self.init(
      channel: greeted.channel, server: greeted.server, handler: greeted.handler,
      commandDeadline: greeted.commandDeadline, denied: denied)
  }

  /// Why the conversation ended, or nil while it goes on. Only on the event loop.
  var ended: RedisError? { handler.value.ended }
  /// Whether the peer closed it while nobody waited for an answer. Only on the event loop.
  var wasClosedIdle: Bool { handler.value.wasClosedIdle }
  /// How often something was sent on it. Only on the event loop.
  var sends: Int { handler.value.sends }

  // MARK: Connecting

  /// Finds the server where the address leads to several, connects and greets: TLS, AUTH, SELECT and a name for `CLIENT LIST`.
  ///
  /// The future fails, within the options' connect deadline, with a ``RedisError`` whose reason is
  /// ``RedisError/Reason/greetingRefused(_:)`` where the server said no, ``RedisError/Reason/connectFailed(_:)`` for everything
  /// else, and its outcome always "not sent".
  ///
  /// Where the options say that a primary is needed, or Sentinels name one, the conversation ends as soon as the server
  /// answers that it isn't the primary any more, or that it is loading its data (READONLY, MASTERDOWN, UNBLOCKED,
  /// LOADING; of a cluster's node MOVED, ASK, TRYAGAIN, CLUSTERDOWN): whoever goes on has to ask the address again,
  /// which may lead elsewhere by now. With Sentinel it also ends within seconds when the sentinels name another one.
  /// - Parameter key: With a cluster the node is meant that has this key's slot. The conversation ends as soon as that
  ///   node answers that it hasn't, or that the slot is moving, or that the cluster is down (MOVED, ASK, TRYAGAIN,
  ///   CLUSTERDOWN); to follow the slot is ``RedisClient``'s part. Nothing is ever stored under this key.
  public static func connect(
    to endpoint: RedisEndpoint, options: RedisOptions = RedisOptions(), routedBy key: String? = nil,
    on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let found = find(endpoint, options: options, routedBy: key, on: eventLoop)
    guard case .cluster = endpoint.address else { return found }
    return found.map { $0.endsWithoutSlot() }
  }

  /// The same, where redirections are answers.
  static func find(
    _ endpoint: RedisEndpoint, options: RedisOptions, routedBy key: String?, on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let question: ServerSearch.Question
    switch (endpoint.address, key) {
    case (.tcp, _), (.unix, _):
      let found = connect(toServer: endpoint, options: options, needsPrimary: options.needsPrimary, on: eventLoop)
      // An address that stays may lead to a cluster of one shard. After a failover its old primary answers MOVED, or
      // CLUSTERDOWN, where another server would answer READONLY.
      return options.needsPrimary ? found.map { $0.endsWithoutSlot() } : found
    case (.sentinels(let group), _): question = .primary(group)
    case (.cluster(let seeds), let key?): question = .owner(of: key, seeds: seeds)
    case (.cluster, nil):
      return eventLoop.makeFailedFuture(
        RedisError(.connectFailed("\(endpoint): a cluster has no server for everything"), outcome: .notSent))
    }
    let deadline = NIODeadline.now() + options.connectDeadline
    return eventLoop.flatSubmit {
      ServerSearch(question, endpoint: endpoint, options: options, deadline: deadline, eventLoop: eventLoop).run()
    }
  }

  /// From now on the conversation ends where the server says that another one has the keys' slot, or nobody.
  private func endsWithoutSlot() -> RedisConnection {
    handler.value.needsSlot = true
    return self
  }

  /// - Parameters:
  ///   - endpoint: One server's.
  ///   - needsPrimary: Whether it must call itself a primary.
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
    // One deadline over all steps. When it passes, a connection that comes later is closed at once.
    let late = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
      let what =
        !isOpen
        ? "couldn't be reached"
        : endpoint.usesTLS
          ? "took the connection, but TLS or Redis gave no answer" : "took the connection, but gave no answer"
      connected.fail(
        RedisError(
          .connectFailed("\(endpoint) \(what) within \(options.connectDeadline.words)"), outcome: .notSent))
    }
    opened.assumeIsolated().flatMap { connection in
      isOpen = true
      // The greeting's own deadline is far later, so that it is always the one above that speaks.
      return connection.greet(endpoint, options: options, deadline: deadline + .minutes(1)).map { denied in
        denied.isEmpty ? connection : RedisConnection(connection, denied: denied)
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

  private static func asConnectError(_ error: any Error, endpoint: RedisEndpoint) -> RedisError {
    guard let error = error as? RedisError else {
      return RedisError(.connectFailed("\(endpoint): \(inWords(error))"), outcome: .notSent)
    }
    switch error.reason {
    case .greetingRefused, .serverTooOld: return error
    case .connectFailed(let why): return RedisError(.connectFailed("\(endpoint): \(why)"), outcome: .notSent)
    default: break
    }
    return RedisError(.connectFailed("\(endpoint): \(error.with(outcome: .notSent))"), outcome: .notSent)
  }

  /// NIO's own descriptions are made for debugging; an operator needs "Connection refused".
  private static func inWords(_ error: any Error) -> String {
    switch error {
    case let error as IOError: return String(cString: strerror(error.errnoCode))
    case let error as NIOConnectionError:
      let attempts = error.connectionErrors.map { inWords($0.error) }
      let lookUps = [error.dnsAError, error.dnsAAAAError].compactMap { $0 }.map { "\($0)" }
      return (attempts.isEmpty ? lookUps : attempts).joined(separator: ", ")
    default: return "\(error)"
    }
  }

  /// Only on the event loop.
  private static func open(
    _ endpoint: RedisEndpoint, options: RedisOptions, on eventLoop: any EventLoop
  ) -> EventLoopFuture<RedisConnection> {
    let tls: (context: NIOSSLContext, name: String?)?
    do {
      tls = try endpoint.tls()
    } catch {
      let files = [
        endpoint.certificateAuthority ?? "the system's certificate authorities", endpoint.clientCertificate?.chain,
        endpoint.clientCertificate?.privateKey,
      ].compactMap { $0 }.joined(separator: ", ")
      return eventLoop.makeFailedFuture(
        RedisError(.closed("can't set up TLS with \(files): \(error)"), outcome: .notSent))
    }
    // Not looked up in the pipeline afterwards: a peer that closes at once has emptied it by then, and it is the handler that
    // knows why.
    let handler = NIOLoopBound(ConversationHandler(eventLoop: eventLoop, options: options), eventLoop: eventLoop)
    let bootstrap = ClientBootstrap(group: eventLoop)
      .connectTimeout(options.connectDeadline)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            try channel.pipeline.syncOperations.addHandler(
              try NIOSSLClientHandler(context: tls.context, serverHostname: tls.name))
          }
          try channel.pipeline.syncOperations.addHandler(handler.value)
        }
      }
    let channel: EventLoopFuture<any Channel> =
      switch endpoint.address {
      case .tcp(let host, let port): bootstrap.connect(host: host, port: port)
      case .unix(let path): bootstrap.connect(unixDomainSocketPath: path)
      case .sentinels, .cluster: preconditionFailure("\(endpoint) leads to several servers: one of them is meant here")
      }
    return channel.map { channel in
      RedisConnection(channel: channel, server: endpoint, handler: handler, commandDeadline: options.commandDeadline)
    }
  }

  private func greet(
    _ endpoint: RedisEndpoint, options: RedisOptions, deadline: NIODeadline
  ) -> EventLoopFuture<[DeniedCommand]> {
    var greeting: [RedisCommand] = []
    do {
      let (user, password) = try endpoint.credentials()
      if let password {
        greeting.append(
          user.isEmpty ? RedisCommand("AUTH", password.revealed) : RedisCommand("AUTH", user, password.revealed))
      }
    } catch {
      return eventLoop.makeFailedFuture(RedisError(.closed("\(error)"), outcome: .notSent))
    }
    if endpoint.database != 0 { greeting.append(RedisCommand("SELECT", endpoint.database)) }
    let named = greeting.count
    greeting.append(RedisCommand("CLIENT", "SETNAME", options.name))
    // With the greeting, since an older server would only say that a script can't be compiled, and a replica or a server that loads would take the
    // connection and then refuse what it is for, again and again.
    var questions = [RedisCommand("INFO", "server")]
    if options.needsPrimary { questions += [RedisCommand("INFO", "replication"), RedisCommand("PING")] }
    let count = greeting.count
    return send(greeting + questions, deadline: deadline).flatMapThrowing { replies in
      let (denied, version) = try Self.denied(by: Array(replies.prefix(count + 1)), named: named)
      if options.needsPrimary { try Self.expectPrimary(InfoFields(replies[count + 1]), ping: replies[count + 2]) }
      return (denied, version)
    }.flatMap { denied, version in
      guard denied.contains(where: { $0.name == "INFO" }) else {
        return self.eventLoop.makeCompletedFuture {
          try Self.expect(version: version, endpoint)
          return denied
        }
      }
      return self.send(ServerHello.question, deadline: deadline).flatMapThrowing { reply in
        // An answer that isn't understood says as little as none: what isn't known isn't expected.
        let hello = try? ServerHello(reply)
        try Self.expect(version: hello?.version, endpoint)
        if options.needsPrimary, hello?.role == "replica" {
          throw RedisError(.connectFailed("expected a primary, but it calls itself replica"), outcome: .notSent)
        }
        return denied
      }
    }
  }

  /// - Parameter replication: Nil where the server doesn't tell.
  private static func expectPrimary(_ replication: InfoFields?, ping: RedisReply) throws {
    if let why = ping.endOfService { throw RedisError(.connectFailed(why), outcome: .notSent) }
    guard let replication, replication["role"] == "slave" else { return }
    let primary = [replication["master_host"], replication["master_port"]].compactMap { $0 }.joined(separator: ":")
    throw RedisError(
      .connectFailed("expected a primary, but it calls itself slave, of \(primary)"), outcome: .notSent)
  }

  /// - Parameters:
  ///   - replies: To the greeting, INFO's last.
  ///   - named: The place of CLIENT SETNAME.
  /// - Returns: What is denied, and the version where INFO says it.
  private static func denied(by replies: [RedisReply], named: Int) throws -> ([DeniedCommand], version: String?) {
    var denied: [DeniedCommand] = []
    for (index, reply) in replies.dropLast().enumerated() {
      switch reply {
      case .status("OK"): continue
      // A name is a convenience.
      case .error(let error) where index == named && error.isDenial:
        denied.append(DeniedCommand("CLIENT SETNAME", error, consequence: "CLIENT LIST shows no name"))
      case .error(let error): throw RedisError(.greetingRefused(error), outcome: .notSent)
      default: throw RedisError(.closed("expected OK to the greeting, got \(reply.shape)"), outcome: .notSent)
      }
    }
    let info = replies[replies.count - 1]
    if case .error(let error) = info, error.isDenial {
      denied.append(DeniedCommand("INFO", error, consequence: "how full Redis is, and its replicas, aren't known"))
    }
    return (denied, InfoFields(info)?["redis_version"].map(String.init))
  }

  /// - Parameter version: Nil where the server doesn't tell, or is busy.
  private static func expect(version: String?, _ endpoint: RedisEndpoint) throws {
    guard let version, let major = version.split(separator: ".").first.flatMap({ Int($0) }), major < oldestVersion
    else { return }
    throw RedisError(
      .serverTooOld("Redis \(version) at \(endpoint): Sluice needs \(oldestVersion).0 or later"), outcome: .notSent)
  }

  /// Scripts with flags, which all commands rely on, are as old.
  private static let oldestVersion = 7

  // MARK: Sending

  /// Sends one command. The future holds its reply, an error reply included, or fails with ``RedisError``.
  public func send(_ command: RedisCommand, within limit: TimeAmount? = nil) -> EventLoopFuture<RedisReply> {
    send([command], deadline: .now() + (limit ?? commandDeadline)).map { $0[0] }
  }

  /// Sends several commands in one write. The future holds their replies in the same order, error replies included, or fails with
  /// ``RedisError`` when not all could be had.
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

  /// Sends commands that the caller has encoded already, for the hot path.
  /// - Parameters:
  ///   - buffer: Whole commands in RESP.
  ///   - name: For messages; no argument that could be secret.
  ///   - expected: How many commands, so replies, that is: at least 1.
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

  /// Ends the conversation; what waits fails with an unknown outcome. Harmless when it is over already.
  public func close() {
    if eventLoop.inEventLoop {
      handler.value.end(.shutDown)
    } else {
      eventLoop.execute { [handler] in handler.value.end(.shutDown) }
    }
  }

  /// Ends the conversation for a reason. Only on the event loop.
  func end(_ reason: RedisError.Reason) { handler.value.end(reason) }

  /// Ends the conversation when all that was sent so far has been answered. Only on the event loop.
  func retire() {
    send(RedisCommand("PING"), deadline: .now() + commandDeadline).whenComplete { _ in self.close() }
  }

  /// From now on this is a conversation with the primary that these sentinels name, for as long as they do. Only on the event loop.
  func follow(
    _ group: SentinelGroup, of endpoint: RedisEndpoint, options: RedisOptions, heard: NamedPrimary, from place: Int
  ) {
    handler.value.needsPrimary = true
    PrimaryWatch(self, group: group, endpoint: endpoint, options: options, heard: heard, from: place).start()
  }
}

extension [RedisCommand] {
  /// All of them, as they are sent.
  var encoded: ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: reduce(0) { $0 + $1.encoded.count })
    for command in self { buffer.writeBytes(command.encoded) }
    return buffer
  }

  /// For messages.
  var name: String { count == 1 ? self[0].name : "\(self[0].name) and \(count - 1) more" }
}

extension RedisEndpoint {
  /// The context for this endpoint's TLS and the name to ask for, or nil where it uses none.
  fileprivate func tls() throws -> (context: NIOSSLContext, name: String?)? {
    guard usesTLS, case .tcp(let host, _) = address else { return nil }
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    // As the push listener has them: ECDHE and AEAD. Redis offers them with each OpenSSL that has TLS 1.2.
    configuration.cipherSuiteValues = [
      .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
      .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
      .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
    if let file = certificateAuthority { configuration.trustRoots = .file(file) }
    if let files = clientCertificate {
      configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(files.chain).map { .certificate($0) }
      configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: files.privateKey, format: .pem))
    }
    // A conversation that is over is closed at once. Waiting for a silent peer's farewell would only delay the next one.
    configuration.shutdownTimeout = .milliseconds(100)
    // An address isn't a name: it isn't sent, and it is looked for among the certificate's addresses. That it can't be
    // parsed as one is the answer here, not a failure.
    let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
    return (try NIOSSLContext(configuration: configuration), serverName ?? (isAddress ? nil : host))
  }
}

extension TimeAmount {
  var words: String { "\(Double(nanoseconds / 1_000_000) / 1_000) s" }
}

/// Carries out what the conversation's state says.
final class ConversationHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var conversation: Conversation<EventLoopPromise<[RedisReply]>>
  private let eventLoop: any EventLoop
  private var context: ChannelHandlerContext?
  /// Whether the address has to be asked again when this server says that it is no primary.
  var needsPrimary: Bool
  /// Whether it has to be asked again when this server says that it doesn't serve the slot.
  var needsSlot = false
  /// Why nothing more is sent: the conversation ends when all that waits has been answered.
  private var leaving: RedisError.Reason?
  /// How often something was sent.
  private(set) var sends = 0
  /// Whether it ended because the peer closed it while nobody waited for an answer.
  private(set) var wasClosedIdle = false
  private var alarm: (at: NIODeadline, task: Scheduled<Void>)?
  /// The alarm has rung so late that the answer may be there unread, and waits for one more look at the socket.
  private var looksOnceMore = false
  /// An alarm that rings later than this shows that the event loop was busy with something else.
  private static let lateness = TimeAmount.milliseconds(50)
  /// Time for that look.
  private static let look = TimeAmount.milliseconds(5)

  init(eventLoop: any EventLoop, options: RedisOptions) {
    self.eventLoop = eventLoop
    needsPrimary = options.needsPrimary
    conversation = Conversation(
      limits: options.replyLimits, waitingLimit: options.waitingLimit, waitingBytesLimit: options.waitingBytesLimit)
  }

  var ended: RedisError? { conversation.ended }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    end(.closed("its channel was taken down"))
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
    // A failed write closes the channel, and that fails the promise with the rest.
    context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    // All bytes are taken first and acted on afterwards: whoever gets an answer may send or close from within.
    let actions = unwrapInboundIn(data).withUnsafeReadableBytes { conversation.received($0) }
    for action in actions { carryOut(action) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if conversation.ended == nil, conversation.isIdle { wasClosedIdle = true }
    end(.closed("the peer closed it"))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    end(.closed("\(error)"))
  }

  func end(_ reason: RedisError.Reason) {
    if conversation.ended == nil { carryOut(conversation.fail(reason)) }
  }

  private func carryOut(_ action: Conversation<EventLoopPromise<[RedisReply]>>.Action) {
    switch action {
    case .answer(let promise, let replies):
      // As it was asked: whoever hears the answer may say that from now on it matters.
      let (needsPrimary, needsSlot) = (needsPrimary, needsSlot)
      promise.succeed(replies)
      for reply in replies where needsPrimary || needsSlot {
        // What was sent before is still answered, and mostly in the same way; without an answer its outcome would be unknown.
        let why = (needsPrimary ? reply.endOfService : nil) ?? (needsSlot ? reply.endOfSlot : nil)
        if let why { leaving = leaving ?? .closed(why) }
      }
      if let leaving, conversation.isIdle { end(leaving) }
    case .end(let error, let promises):
      alarm?.task.cancel()
      alarm = nil
      // Closed first, so that whoever is told of the failure finds no connection that only seems to be open.
      context?.close(promise: nil)
      for promise in promises { promise.fail(error) }
    }
  }

  /// One timer serves all that waits. It isn't moved when an answer comes, which is the common case: it fires, finds
  /// the next deadline, and is set again.
  private func setAlarm(noLaterThan deadline: NIODeadline) {
    if let alarm, alarm.at <= deadline { return }
    alarm?.task.cancel()
    let task = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.alarmRang() }
    alarm = (deadline, task)
  }

  private func alarmRang() {
    let due = alarm?.at ?? .now()
    alarm = nil
    // Events of sockets that came while the event loop was busy are behind its timers: without a look at them an answer
    // that came in time would count as late, and the connection be closed with all that others have on it.
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
  /// Why nothing more can be expected of the server in this conversation: it is no primary, or it has no data yet. Nil where it goes on.
  fileprivate var endOfService: String? {
    guard case .error(let error) = self else { return nil }
    return switch error.code {
    case "READONLY", "UNBLOCKED": "the server isn't the primary any more: \(error.code)"
    case "MASTERDOWN": "the server is a replica that has lost its primary: MASTERDOWN"
    case "LOADING": "the server is loading its data: LOADING"
    default: nil
    }
  }

  /// Why this conversation has no slot to speak of any more. Nil where it goes on.
  fileprivate var endOfSlot: String? {
    guard case .error(let error) = self else { return nil }
    return switch error.code {
    case "MOVED": "the keys' slot is at another node of the cluster now: \(error.message)"
    case "ASK", "TRYAGAIN": "the keys' slot is moving to another node of the cluster: \(error.message)"
    case "CLUSTERDOWN": "the cluster is down, as far as this node knows: \(error.message)"
    default: nil
    }
  }
}
