// One client's connection. It carries out the actions of HTTPFraming's state machine, asks the push handler for
// verdicts, and writes the answers in the request's dialect. It reads and writes bytes, without NIO's HTTP pipeline.
//
// The key is looked up when the head has arrived, before the body. So a client without an active key is answered before
// it has sent megabytes. A client that waits for "100 Continue" never sends them. While the verdict is pending, the
// connection reads nothing that it would have to buffer.
//
// The state machine ensures that each request has one answer, in order. This handler limits everything that it keeps:
// input sent ahead, answers that the client doesn't read, and time.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica
internal import KeyStore
internal import Listening
internal import NIOCore
internal import NIOSSL

final class PushConnection: ChannelDuplexHandler, PushResponder, TurnTaking {
  typealias InboundIn = ByteBuffer
  typealias OutboundIn = Never
  typealias OutboundOut = ByteBuffer

  private let gate: any PushHandling
  private let shared: ListenerContext
  private let budget: ByteBudget
  private let turns: ConnectionTurns
  /// Whether the connection has used its turn, and continues in the next one.
  private var awaitsTurn = false
  private(set) lazy var turnOwner = isProxy ? ownTurns : network.map { TurnOwner.network($0) } ?? ownTurns
  private var ownTurns: TurnOwner { .connection(ObjectIdentifier(self)) }
  /// The client's address, if known. If it is a trusted proxy's, the requests may be from other clients.
  private let client: IPAddress?
  /// Whether the client is a proxy that names the client of each request.
  private let isProxy: Bool
  /// The network that requests are counted for in the budget; nil if it isn't known, or differs for each request.
  private let network: IPAddress?
  /// nil if connections aren't limited.
  private let place: ConnectionPlace?
  // Exclusivity isn't checked for two properties here and two of an exchange: the checks took a tenth of the
  // instructions of a push. All four are values whose methods call nothing that could come back here, so no access can
  // overlap another.
  @exclusivity(unchecked) private var wire: ConnectionBuffers
  private var exchange: Exchange?
  /// Set while the handler is in the channel's pipeline.
  private var context: ChannelHandlerContext?
  private let isEncrypted: Bool
  private var sizes = BufferSizes.ofStranger
  /// Writes answers directly, bypassing NIO; nil over TLS, and when the connection is over.
  private(set) var socket: DirectSocketWriter?
  /// Writes that NIO hasn't finished. Further output must go through NIO as well.
  private var pendingWrites = 0
  /// Requests whose answers aren't in the kernel yet and hold bytes of the budget.
  private var unsent: [Exchange] = []

  /// Whether NIO wanted to read, and the read is deferred.
  private var heldRead = false
  private var inputHasEnded = false

  @exclusivity(unchecked) private(set) var clock = PhaseClock()

  /// - Parameters:
  ///   - budget: The budget of the connection's event loop.
  ///   - turns: The turns of the connection's event loop.
  ///   - client: The client's address; nil if it isn't known.
  ///   - isEncrypted: Whether a handler before this one does TLS.
  ///   - place: Its entry in the limiter, which becomes proven once a key was admitted.
  init(
    gate: any PushHandling, shared: ListenerContext, budget: ByteBudget, turns: ConnectionTurns, client: IPAddress?,
    isEncrypted: Bool,
    place: ConnectionPlace? = nil
  ) {
    self.gate = gate
    self.shared = shared
    self.budget = budget
    self.turns = turns
    self.client = client
    self.place = place
    self.isEncrypted = isEncrypted
    isProxy = client.map { shared.trusted.contains($0) } ?? false
    network = isProxy ? nil : client?.network
    wire = ConnectionBuffers(limits: shared.limits)
  }

  /// The capacity of the memory for unconsumed input, in bytes.
  var inputCapacity: Int { wire.inputCapacity }

  // MARK: Events

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    wire.isWritable = context.channel.isWritable
    if !isEncrypted { socket = DirectSocketWriter(of: context.pipeline) }
    if context.channel.isActive { watch(wire.machine.phase, context) }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    socket = nil
  }

  func channelActive(context: ChannelHandlerContext) {
    watch(wire.machine.phase, context)
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let wasWanted = wire.append(unwrapInboundIn(data), sentAhead: shared.sentAhead)
    // When a client has closed its side, NIO reads everything that the kernel has, wanted or not. With thousands of
    // connections that ended at once, each with requests sent ahead, that was gigabytes, and seconds of useless work.
    // None of these requests is acknowledged.
    if !wasWanted, wire.unread.readableBytes > shared.unreadAtEnd || socket?.isReset ?? false {
      return context.channel.reset()
    }
    drive(context)
  }

  /// Reads more only once the last input is consumed, so that a client can send ahead no more than one read.
  func read(context: ChannelHandlerContext) {
    if !awaitsTurn, wire.wantsMore(than: shared.sentAhead) { context.read() } else { heldRead = true }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    wire.isWritable = context.channel.isWritable
    if wire.isWritable { drive(context) }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case ChannelEvent.inputClosed:
      inputHasEnded = true
      wire.machine.inputEnded()
      drive(context)
    case is ChannelShouldQuiesceEvent:
      wire.machine.stop()
      if heldRead {
        // If a client doesn't read its answers, the input that it has sent ahead must be read, or closing the socket
        // would reset the connection.
        heldRead = false
        context.read()
      }
      drive(context)
    default: context.fireUserInboundEventTriggered(event)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    ended()
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A client that closes its side without TLS's close still gets its answers. The end of its input is an event of its
    // own.
    if case NIOSSLError.uncleanShutdown = error { return }
    // Mostly a reset. There is nobody to answer any more.
    context.close(promise: nil)
  }

  /// Whether the connection has sent an active key.
  var isProven: Bool { place?.isProtected ?? false }

  /// Called when the connection is closed in favour of another one. A request in progress is still answered.
  func giveWay() {
    guard let context, !wire.isClosed else { return }
    guard isProven, let place else { return context.channel.reset() }
    if place.mayEndFrom > context.eventLoop.now {
      // The connection was idle when it was chosen, and has begun a request since.
      wire.machine.stop()
      drive(context)
    } else if wire.machine.phase == .idle, wire.isWritable, pendingWrites == 0 {
      // The last answer may still be on its way to the client, and a reset would overtake it.
      context.channel.closeAtOnce()
    } else {
      context.channel.reset()
    }
  }

  private func ended() {
    wire.isClosed = true
    socket = nil
    clock.stop()
    // The reserved bytes of the exchange and of unsent bodies are released with them. A batch that is being counted and
    // a payload that is being enqueued keep theirs until that is over.
    exchange = nil
    unsent = []
  }

  // MARK: The machine

  private func drive(_ context: ChannelHandlerContext) {
    if !turns.mayGoOnNow(self), !awaitsTurn, wire.mayBeDriven {
      awaitsTurn = true
      turns.add(self)
    }
    drive(context, for: turns.stepsNow(isProven: isProven))
  }

  private func drive(_ context: ChannelHandlerContext, for steps: Int) {
    // The loop itself writes an answer that is given during the loop, and goes on.
    guard !awaitsTurn, var turn = wire.beginDriving(gathering: sizes.gathered) else {
      return flushUnlessDriven(context)
    }
    var left = steps
    loop: while true {
      switch turn {
      case .flush: flush(context)
      case .rest: break loop
      case .step(let step):
        if carryOut(step, context) { break loop }
        left -= 1
        if left == 0 {
          awaitsTurn = true
          turns.add(self)
          break loop
        }
      }
      turn = wire.next(gathering: sizes.gathered)
    }
    var rest = wire.endDriving(sentAhead: shared.sentAhead)
    // From here on NIO's write may call this again, when it reports that the client reads again.
    if rest.hasOutput {
      flush(context)
      rest = wire.settle(sentAhead: shared.sentAhead)
    }
    if heldRead, !awaitsTurn, rest.wantsMore {
      heldRead = false
      context.read()
    }
    if rest.phase != clock.phase { watch(rest.phase, isIdle: rest.isIdle, context) }
  }

  func goOn() {
    awaitsTurn = false
    if let context { drive(context, for: ConnectionTurns.steps) }
  }

  /// Answers are flushed at once, even if the connection continues only in its next turn.
  private func flushUnlessDriven(_ context: ChannelHandlerContext) {
    if awaitsTurn, !wire.isClosed { flush(context) }
  }

  /// - Returns: Whether the state machine waits for something.
  private func carryOut(_ step: Step, _ context: ChannelHandlerContext) -> Bool {
    switch step.action {
    case .skip: wire.skip(step.length)
    case .read, .wait: return true
    case .head(let number, _):
      // Each request has its own deadlines, even if it begins in the same phase that the one before it did.
      clock.phase = nil
      begin(number, context)
      wire.skip(step.length)
    case .writeContinue: wire.write(Response.goOn)
    case .body: take(step.length, context)
    case .end: if let exchange { carryOut(exchange.state.ended(), context) }
    case .refuse(let refusal, let framing): refuse(refusal, framing)
    // Over TLS this sends TLS's close. If the client has closed its side too, this would close everything, and the next
    // action does that.
    case .closeOutput: whenWritten(context) { if !self.inputHasEnded { context.close(mode: .output, promise: nil) } }
    case .close:
      // The connection isn't closed during NIO's write, because TLS's close would be lost.
      let loop = context.eventLoop.assumeIsolated()
      whenWritten(context) { loop.execute { context.close(promise: nil) } }
      return true
    }
    return false
  }

  private func flush(_ context: ChannelHandlerContext) {
    switch wire.flush(to: pendingWrites == 0 ? socket : nil) {
    case .nothingAsBefore: return
    case .nothing:
      if !unsent.isEmpty { unsent = [] }
      return
    case .some: break
    }
    let held = unsent
    unsent = []
    var written: EventLoopPromise<Void>?
    if socket != nil || !held.isEmpty {
      pendingWrites += 1
      written = context.eventLoop.makePromise(of: Void.self)
      written?.futureResult.assumeIsolated().whenComplete { result in
        // The write fails if the connection is gone. NIO may have closed the socket before it reports that.
        if case .failure = result { self.socket = nil }
        self.pendingWrites -= 1
        withExtendedLifetime(held) {}
      }
    }
    context.writeAndFlush(wrapOutboundOut(wire.takeOutput()), promise: written)
  }

  /// Acts when all output is in the kernel: closing discards the rest, which may be answers.
  private func whenWritten(_ context: ChannelHandlerContext, _ act: @escaping () -> Void) {
    flush(context)
    let promise = context.eventLoop.makePromise(of: Void.self)
    // This empty write is completed after all earlier output.
    context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
    // If the write fails, the connection is gone already.
    promise.futureResult.assumeIsolated().whenComplete { _ in if !self.wire.isClosed { act() } }
  }

  // MARK: A request

  private func begin(_ number: RequestNumber, _ context: ChannelHandlerContext) {
    let unread = wire.unread
    let bytes = unread.readableBytesSpan
    let network = network ?? (isProxy ? sender().flatMap { $0 == client ? nil : $0.network } : nil)
    func exchange(_ dialect: Dialect, _ purpose: Route.Purpose) -> Exchange {
      Exchange(number, dialect, purpose, wire.machine.head, bytes, ReservedBytes(of: budget, network: network))
    }
    switch shared.routes.destination(of: wire.machine.head, in: bytes) {
    case .route(let dialect, let purpose):
      self.exchange = exchange(dialect, purpose)
      decide(from: sender(), context)
    case .otherMethods(let dialect, let allow):
      self.exchange = exchange(dialect, .push)
      reject(.methodNotAllowed(allow: allow), context)
    case .none:
      self.exchange = exchange(shared.fallback, .push)
      reject(.notFound, context)
    }
  }

  /// The client address for the log, if the key needs a proof. The head must still be in memory.
  private func sender() -> IPAddress? {
    guard let client, !shared.trusted.blocks.isEmpty else { return client }
    let (trusted, head) = (shared.trusted, wire.machine.head)
    let unread = wire.unread
    return trusted.sender(of: head, unread.readableBytesSpan, from: client)
  }

  /// Asks whether the key is active, if it is known already.
  private func decide(from sender: @autoclosure () -> IPAddress?, _ context: ChannelHandlerContext) {
    guard let exchange, exchange.state.isUndecided else { return }
    guard let key = exchange.key else {
      if !exchange.keyIsInBody { reject(exchange.withoutKey, context) }
      return
    }
    if let account = gate.admits(key) { return admitted(account, context) }
    wire.awaitsVerdict = true
    let number = exchange.number
    gate.verdict(of: key, from: sender()).assumeIsolated().whenSuccess { verdict in
      self.wire.awaitsVerdict = false
      guard !self.wire.isClosed, self.exchange?.number == number else { return }
      switch verdict {
      case .admit(let account): self.admitted(account, context)
      case .refuse(let reason, let proof): self.reject(.refused(reason, proof), context)
      case .undecided(let why): self.reject(.undecided(why), context)
      }
      self.drive(context)
    }
  }

  private func admitted(_ account: String, _ context: ChannelHandlerContext) {
    if let place, place.prove(by: account, at: context.eventLoop.now) {
      if !isProxy { turnOwner = .account(account) }
      widen(context)
    }
    guard let exchange else { return }
    do throws(ByteBudget.Shortage) { try exchange.held.assign(to: account) } catch {
      return reject(.unavailable(.init(error)), context)
    }
    carryOut(exchange.state.admitted(isWhole: wire.machine.isWhole), context)
  }

  /// The connection has sent an active key, and gets larger buffers. They make large payloads and many requests sent
  /// ahead cheap.
  private func widen(_ context: ChannelHandlerContext) {
    sizes = .proven
    do {
      try context.channel.syncOptions?.setOption(.recvAllocator, value: sizes.reads)
      try context.channel.syncOptions?.setOption(.writeBufferWaterMark, value: sizes.unsent)
    } catch {
      // NIO throws here only if the channel is closed. Then nothing can be read or written any more.
    }
  }

  private func carryOut(_ action: ExchangeState.Action, _ context: ChannelHandlerContext) {
    switch action {
    case .none: break
    case .welcomeBody: welcomeBody(context)
    case .discardBody:
      exchange?.request.body = ByteBuffer()
      exchange?.held.release()
      // The rest of the body is discarded, and has a deadline of its own.
      clock.phase = nil
    case .findKey: if exchange?.key == nil, findKeyInBody(context) != nil { decide(from: client, context) }
    case .countEvents: countEvents(context)
    case .enqueue: if let exchange { gate.push(exchange, for: self) }
    case .answer(let answer): write(answer)
    }
  }

  private func reject(_ why: PushRejection, _ context: ChannelHandlerContext) {
    guard let exchange else { return }
    carryOut(exchange.state.reject(why, receivesChunks: wire.machine.isReceivingChunks), context)
  }

  /// The body of an admitted key is wanted. If it is longer than the budget allows now, the request is rejected at
  /// once, which saves the transfer. But no bytes are reserved before they arrive.
  private func welcomeBody(_ context: ChannelHandlerContext) {
    guard let exchange, case .length(let announced) = wire.machine.body,
      let shortage = exchange.held.shortage(of: announced - exchange.held.count)
    else { return }
    reject(.unavailable(.init(shortage)), context)
  }

  private func take(_ length: Int, _ context: ChannelHandlerContext) {
    let part = wire.take(length)
    guard let exchange else { return }
    switch exchange.state.received(length, discardingAtMost: shared.limits.drainBytes) {
    case .keep: keep(part, of: exchange, context)
    case .discard: break
    // An answer at this point ends the connection.
    case .answer(let why): write(.rejected(why))
    }
  }

  private func keep(_ part: ByteBuffer, of exchange: Exchange, _ context: ChannelHandlerContext) {
    let length = part.readableBytes
    let announced: Int? = if case .length(let length) = wire.machine.body { length } else { nil }
    let isWhole = length == announced
    if !isWhole, clock.progressed(by: length) { place?.mayEndFrom = context.eventLoop.now + PhaseClock.patience }
    exchange.append(part, isWhole: isWhole)
    // The key is searched for as soon as it can have arrived, so that little memory is used for clients without one.
    // This happens before the bytes are counted. Bytes of an active key must not count among bytes without a key,
    // because strangers can use up the limit of those.
    var asks = false
    if exchange.keyIsInBody, exchange.hasFirstLine(newest: length, announced: announced) {
      guard let key = findKeyInBody(context) else { return }
      if let account = gate.admits(key) { admitted(account, context) } else { asks = true }
      guard self.exchange === exchange, exchange.state.rejection == nil else { return }
    }
    do throws(ByteBudget.Shortage) { try exchange.held.take(length, isBrief: isWhole) } catch {
      return reject(.unavailable(.init(error)), context)
    }
    if asks { decide(from: client, context) }
  }

  /// - Returns: nil if there is no key; then the request has been rejected.
  private func findKeyInBody(_ context: ChannelHandlerContext) -> KeyID? {
    guard let exchange else { return nil }
    switch PresentedKey.findDSN(in: exchange.request.body.readableBytesSpan) {
    case .key(let key):
      exchange.key = key
      // From here on the request has the body's deadline.
      clock.phase = nil
      return key
    case .tooLong: reject(.keyTooLong(limit: PresentedKey.limit), context)
    case .missing: reject(exchange.withoutKey, context)
    }
    return nil
  }

  /// Counts the events of a batch: the answer has a status for each of them.
  private func countEvents(_ context: ChannelHandlerContext) {
    guard let exchange, let account = exchange.account else { return }
    do throws(PushRejection) {
      let batch = try Batch(
        exchange.request.body, exchange.media,
        contentType: (exchange.labels?.contentType).map { String(decoding: $0, as: UTF8.self) },
        contentEncoding: (exchange.labels?.contentEncoding).map { String(decoding: $0, as: UTF8.self) })
      if let events = try batch.countBriefly() { return counted(events, in: exchange, context) }
      // The closure keeps the exchange, and its reserved bytes, until the other thread is done with the body.
      shared.batches.count(batch, of: account, on: context.eventLoop).assumeIsolated().whenComplete { result in
        guard !self.wire.isClosed, self.exchange === exchange else { return }
        switch result {
        case .success(let events): self.counted(events, in: exchange, context)
        case .failure(let error): self.reject(error as? PushRejection ?? .unavailable(.nodeFull), context)
        }
        self.drive(context)
      }
    } catch {
      reject(error, context)
    }
  }

  private func counted(_ events: Int, in exchange: Exchange, _ context: ChannelHandlerContext) {
    // A body of a few bytes can contain many events, and its answer can be a thousand times as long.
    var held = ReservedBytes(of: budget, network: exchange.held.network, account: exchange.account)
    do throws(ByteBudget.Shortage) { try held.take(events * exchange.dialect.answerBytesPerEvent) } catch {
      return reject(.unavailable(.init(error)), context)
    }
    exchange.answerHeld = consume held
    exchange.events = events
    carryOut(exchange.state.counted(), context)
  }

  func handedOver(_ number: RequestNumber, _ outcome: PushOutcome) {
    // A closed connection has no exchange.
    guard let context, let exchange, exchange.number == number else { return }
    carryOut(exchange.state.enqueued(outcome), context)
    drive(context)
  }

  // MARK: Answers

  private func write(_ answer: ExchangeState.Answer) {
    guard let (exchange, framing) = answered() else { return }
    let name = exchange.dialect.name
    switch answer {
    case .accepted(let id):
      shared.counters.countAccepted(exchange.dialect)
      wire.write(exchange.dialect.accepted(Accepted(id: id, media: exchange.media, events: exchange.events)), framing)
    case .active:
      shared.counters.count(dialect: name, status: 200, reason: "active", .noPayload)
      wire.write(exchange.dialect.active(exchange.account ?? ""), framing)
    case .preflight:
      shared.counters.count(dialect: name, status: 200, reason: "preflight", .noPayload)
      wire.write(Reply(template: Dialects.preflight), framing)
    case .rejected(let why):
      wire.write(Reply(template: shared.refusal(why, in: exchange.dialect, exchange.media)), framing)
    }
  }

  /// Marks the exchange as answered, unless the state machine rejects the answer.
  private func answered() -> (Exchange, ResponseFraming)? {
    guard let exchange else { return nil }
    self.exchange = nil
    // The body is the queue's now, or nobody's. Its bytes are released here, because the next request may arrive before
    // the last reference to the exchange is gone.
    exchange.held.release()
    if exchange.events != nil {
      exchange.request.body = ByteBuffer()
      unsent.append(exchange)
    }
    // While the node ends, each connection closes after its next answer.
    if shared.stopping.isSet { wire.machine.stop() }
    guard let framing = wire.machine.answer(exchange.number) else { return nil }
    return (exchange, framing)
  }

  /// The state machine answers by itself, with or without an exchange.
  private func refuse(_ refusal: ProtocolError, _ framing: ResponseFraming) {
    var dialect = exchange?.dialect ?? shared.fallback
    var media = exchange?.media ?? .other
    var why = refusal == .bodyTooLarge ? .tooLarge(limit: shared.limits.bodyBytes) : PushRejection.unreadable(refusal)
    // Another error of the request is known already. Otherwise a client that sends chunks slowly and without end would
    // never get that error.
    if refusal == .tooSlow, let known = exchange?.state.rejection { why = known }
    // The announced length is too large. The head is complete, and still in memory.
    if exchange == nil, refusal == .bodyTooLarge,
      case .route(let meant, _) = shared.routes.destination(of: wire.machine.head, in: wire.unread.readableBytesSpan)
    {
      dialect = meant
      media = MediaType(
        wire.machine.head.label("content-type", in: wire.unread.readableBytesSpan), in: wire.unread.readableBytesSpan)
    }
    exchange = nil
    wire.write(Reply(template: shared.refusal(why, in: dialect, media)), framing)
  }

  // MARK: Time

  /// Sets the deadline of the phase, if it is another phase.
  /// - Parameter isIdle: Whether the connection waits for a request, and the client has read its answers.
  private func watch(_ phase: ConnectionPhase, isIdle: Bool = false, _ context: ChannelHandlerContext) {
    guard !wire.isClosed, phase != clock.phase else { return }
    guard let allowed = time(for: phase) else {
      clock.enter(phase)
      place?.mayEndFrom = .distantFuture
      return
    }
    let now = context.eventLoop.now
    place?.mayEndFrom = isIdle ? now : now + PhaseClock.patience
    if clock.enter(phase, until: now + allowed) { setTimer(context) }
  }

  private func time(for phase: ConnectionPhase) -> TimeAmount? {
    let deadlines = shared.deadlines
    guard phase == .body, let exchange else { return deadlines[phase] }
    if exchange.state.rejection != nil { return deadlines.discard }
    // Anybody can send a body without a key. It uses memory that other clients with the key in the body need.
    return exchange.keyIsInBody && exchange.state.keepsBody ? min(deadlines.head, deadlines.body) : deadlines.body
  }

  private func setTimer(_ context: ChannelHandlerContext) {
    clock.setTimer(on: context.eventLoop) { self.timerRang(context) }
  }

  private func timerRang(_ context: ChannelHandlerContext) {
    switch clock.rang(at: context.eventLoop.now) {
    case .nothing: return
    case .early: return setTimer(context)
    case .passed: break
    }
    guard !wire.isClosed else { return }
    // The verdict has a deadline of its own.
    guard !wire.awaitsVerdict else {
      clock.phase = nil
      return watch(wire.machine.phase, context)
    }
    let step = wire.machine.deadlinePassed()
    // The deadline applies to unwritten output too.
    if step.action == .close { return context.close(promise: nil) }
    _ = carryOut(step, context)
    drive(context)
  }
}

extension TrustedProxies {
  /// The client address of a request from a peer.
  fileprivate func sender(of head: RequestHead, _ bytes: RawSpan, from peer: IPAddress) -> IPAddress {
    ForwardedFor.client(peer: peer, trusted: self, values: head.all("x-forwarded-for", in: bytes), in: bytes)
  }
}
