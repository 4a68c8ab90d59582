// One client's connection: carries out what the machine of HTTPFraming says, asks the gate, and writes the answers in the words of the
// request's dialect. Bytes in, bytes out; no HTTP pipeline of NIO's.
//
// The key is looked at when the head has come, before the body: a client with a key that isn't active is told so before it has sent
// megabytes, and one that waits for "100 Continue" never sends them. While the verdict is awaited the connection reads nothing that
// it would have to keep.
//
// That each request has one answer, in order, is the machine's business. This one sees to it that nothing is kept without a bound:
// what a client sends ahead, answers that it doesn't read, and time.

internal import ClientAddress
internal import Foundation
internal import HTTPFraming
internal import IngestQueue
internal import KeyReplica
internal import KeyStore
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
  /// It has had its turn, and goes on in the next one.
  private var awaitsTurn = false
  private(set) lazy var turnOwner = isProxy ? ownTurns : network.map { TurnOwner.network($0) } ?? ownTurns
  private var ownTurns: TurnOwner { .connection(ObjectIdentifier(self)) }
  /// Whose connection it is, as far as that is known; requests may be others', if it is a trusted proxy.
  private let client: IPAddress?
  /// Whether that is a proxy that says for whom it passes on requests.
  private let isProxy: Bool
  /// Whose share of the budget requests count against; nil where it isn't known, or is another one for each request.
  private let network: IPAddress?
  /// nil where connections aren't bounded.
  private let place: ConnectionPlace?
  private var wire: ConnectionBuffers
  private var exchange: Exchange?
  /// While it is in the channel's pipeline.
  private var context: ChannelHandlerContext?
  private let isEncrypted: Bool
  private var sizes = BufferSizes.ofStranger
  /// To put answers there past NIO; nil where they are encrypted on their way, and when the connection is over.
  private(set) var socket: DirectSocketWriter?
  /// Writes that NIO isn't done with: what follows must go the same way.
  private var pendingWrites = 0
  /// Of the budget, for answers that aren't on their way to the kernel yet.
  private var unsent: [HeldBytes] = []

  /// A read that NIO wanted to make and that is put off.
  private var heldRead = false
  private var inputHasEnded = false

  /// Bytes of a body since it was last noted that the client sends.
  private var unnoted = 0
  private var watchedPhase: ConnectionPhase?
  private var deadline = NIODeadline.distantFuture
  private(set) var timer: (at: NIODeadline, task: Scheduled<Void>)?

  /// - Parameters:
  ///   - budget: Of the connection's event loop.
  ///   - turns: The same.
  ///   - client: Whose connection it is; nil where that isn't known.
  ///   - isEncrypted: Whether a handler before this one speaks TLS.
  ///   - place: Proven once a key was admitted.
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

  /// How many bytes of memory are held for what came and wasn't consumed.
  var inputCapacity: Int { wire.inputCapacity }

  // MARK: What happens

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
    // When a client has ended NIO reads all that the kernel has of it, wanted or not. Of thousands of connections that
    // end at once, with requests sent ahead on each, that was gigabytes, and seconds of work for nobody. Nothing of it
    // is acknowledged.
    if !wasWanted, wire.unread.readableBytes > shared.unreadAtEnd || socket?.isReset ?? false {
      return context.channel.reset()
    }
    drive(context)
  }

  /// More is read only while what came has found its way, so that a client can send ahead no more than one read brings.
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
        // What a client that doesn't read has sent ahead must be seen, or the socket would be closed over it.
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
    // A client that ends its side without TLS's goodbye still wants its answers; its end comes as an event of its own.
    if case NIOSSLError.uncleanShutdown = error { return }
    // A reset, mostly. There is nobody to answer any more.
    context.close(promise: nil)
  }

  /// Whether it has shown an active key.
  var isProven: Bool { place?.isProtected ?? false }

  /// Its place has been given to another connection. What the node has in hand is still answered.
  func giveWay() {
    guard let context, !wire.isClosed else { return }
    guard isProven, let place else { return context.channel.reset() }
    if place.mayEndFrom > context.eventLoop.now {
      // It was idle when it was chosen, and has begun a request since.
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
    timer?.task.cancel()
    timer = nil
    // What is being counted elsewhere holds its memory until that is over.
    if let exchange, !exchange.isBeingCounted { giveBack(&exchange.held) }
    if let held = exchange?.answerHeld { unsent.append(held) }
    exchange = nil
    giveBack(&unsent)
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
    // An answer that comes at once is written in the midst of the loop, which goes on by itself.
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
    // From here on it may be driven again, from within NIO's writing: when that says that the client reads again.
    if rest.hasOutput {
      flush(context)
      rest = wire.settle(sentAhead: shared.sentAhead)
    }
    if heldRead, !awaitsTurn, rest.wantsMore {
      heldRead = false
      context.read()
    }
    if rest.phase != watchedPhase { watch(rest.phase, isIdle: rest.isIdle, context) }
  }

  func goOn() {
    awaitsTurn = false
    if let context { drive(context, for: ConnectionTurns.steps) }
  }

  /// What was answered goes out at once, also where the connection only goes on in its next turn.
  private func flushUnlessDriven(_ context: ChannelHandlerContext) {
    if awaitsTurn, !wire.isClosed { flush(context) }
  }

  /// - Returns: Whether the machine waits for something.
  private func carryOut(_ step: Step, _ context: ChannelHandlerContext) -> Bool {
    switch step.action {
    case .skip: wire.skip(step.length)
    case .read, .wait: return true
    case .head(let number, let body):
      // Each request has its own deadlines, even if it begins in the same phase that the one before it did.
      watchedPhase = nil
      begin(number, body)
      if exchange?.number == number { askForKey(from: sender(), context) }
      wire.skip(step.length)
    case .writeContinue: wire.write(Response.goOn)
    case .body: take(step.length, context)
    case .end:
      exchange?.isWhole = true
      finish(context)
    case .refuse(let refusal, let framing): refuse(refusal, framing)
    // Over TLS this says goodbye there. Where the client has ended too it would close all, and what comes next does that.
    case .closeOutput: whenWritten(context) { if !self.inputHasEnded { context.close(mode: .output, promise: nil) } }
    case .close:
      // Not in the midst of NIO's writing, or the goodbye of TLS is lost.
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
      if !unsent.isEmpty { giveBack(&unsent) }
      return
    case .some: break
    }
    let held = unsent
    unsent = []
    var written: EventLoopPromise<Void>?
    if socket != nil || !held.isEmpty {
      pendingWrites += 1
      written = context.eventLoop.makePromise(of: Void.self)
      written?.futureResult.assumeIsolated().whenComplete { [held] result in
        var held = held
        // It fails where the connection is gone, and then they are as well. NIO may have closed the socket by now, before it says so.
        if case .failure = result { self.socket = nil }
        self.pendingWrites -= 1
        self.giveBack(&held)
      }
    }
    context.writeAndFlush(wrapOutboundOut(wire.takeOutput()), promise: written)
  }

  private func giveBack(_ held: inout HeldBytes) { budget.giveBack(&held) }

  private func giveBack(_ held: inout [HeldBytes]) {
    for index in held.indices { budget.giveBack(&held[index]) }
    held = []
  }

  /// Acts when all that was written is in the kernel: closing throws away what isn't, and that may be answers.
  private func whenWritten(_ context: ChannelHandlerContext, _ act: @escaping () -> Void) {
    flush(context)
    let promise = context.eventLoop.makePromise(of: Void.self)
    // Behind all that was written before, and so done when that is.
    context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
    // Where it fails the connection is gone already.
    promise.futureResult.assumeIsolated().whenComplete { _ in if !self.wire.isClosed { act() } }
  }

  // MARK: A request

  private func begin(_ number: RequestNumber, _ body: BodyKind) {
    let unread = wire.unread
    let bytes = unread.readableBytesSpan
    let network = network ?? (isProxy ? sender().flatMap { $0 == client ? nil : $0.network } : nil)
    switch shared.routes.destination(of: wire.machine.head, in: bytes) {
    case .route(let dialect, let purpose):
      exchange = Exchange(number, dialect, purpose, body, wire.machine.head, bytes, from: network)
    case .otherMethods(let dialect, let allow):
      exchange = Exchange(number, dialect, .push, body, wire.machine.head, bytes, from: network)
      fail(.methodNotAllowed(allow: allow))
    case .none:
      exchange = Exchange(number, shared.fallback, .push, body, wire.machine.head, bytes, from: network)
      fail(.notFound)
    }
  }

  /// The body of an admitted key is wanted. One that is longer than there is room for now is told so at once, which saves everybody its way;
  /// but nothing is taken for it before it comes.
  private func welcomeBody() {
    guard let exchange, exchange.keepsBody,
      let shortage = budget.shortage(of: exchange.announced - exchange.held.count, for: exchange.held)
    else { return }
    fail(.unavailable(.init(shortage)))
  }

  /// Whom the request comes from, for the log, where it is to be asked about its key. Its head must still be there.
  private func sender() -> IPAddress? {
    guard let client, !shared.trusted.blocks.isEmpty else { return client }
    let (trusted, head) = (shared.trusted, wire.machine.head)
    let unread = wire.unread
    return trusted.sender(of: head, unread.readableBytesSpan, from: client)
  }

  private func askForKey(from sender: @autoclosure () -> IPAddress?, _ context: ChannelHandlerContext) {
    guard let exchange, exchange.purpose != .preflight, exchange.failure == nil else { return }
    guard let key = exchange.key else {
      if !exchange.keyIsInBody { fail(exchange.withoutKey) }
      return
    }
    if let account = gate.admits(key) { return admitted(account, context) }
    wire.awaitsVerdict = true
    gate.verdict(of: key, from: sender()).assumeIsolated().whenSuccess { verdict in
      self.wire.awaitsVerdict = false
      guard !self.wire.isClosed, self.exchange?.number == exchange.number else { return }
      switch verdict {
      case .admit(let account): self.admitted(account, context)
      case .refuse(let reason, let proof): self.fail(.refused(reason, proof))
      case .undecided(let why): self.fail(.undecided(why))
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
    do throws(ByteBudget.Shortage) { try budget.assign(&exchange.held, to: account) } catch {
      return fail(.unavailable(.init(error)))
    }
    if exchange.isWhole { finish(context) } else { welcomeBody() }
  }

  /// It has shown a key, and may hold what makes large payloads and many requests ahead cheap.
  private func widen(_ context: ChannelHandlerContext) {
    sizes = .proven
    do {
      try context.channel.syncOptions?.setOption(.recvAllocator, value: sizes.reads)
      try context.channel.syncOptions?.setOption(.writeBufferWaterMark, value: sizes.unsent)
    } catch {
      // All that NIO throws here is that the channel is closed. What would be read and written isn't any more.
    }
  }

  private func take(_ length: Int, _ context: ChannelHandlerContext) {
    let part = wire.take(length)
    guard let exchange else { return }
    if let (why, thrownAway) = exchange.failure {
      exchange.failure = (why, thrownAway + length)
      // An answer that comes now ends the connection.
      if thrownAway + length > shared.limits.drainBytes { say(why) }
      return
    }
    guard exchange.keepsBody else { return }
    let isWhole = length == exchange.announced
    if !isWhole { noteProgress(length, context) }
    exchange.append(part, isWhole: isWhole)
    // The key is looked for as soon as it can be there, so that little is held for those who have none. And before the
    // bytes are taken: those of an active key need no room among bytes without a key, which strangers can fill.
    var asks = false
    if exchange.keyIsInBody, exchange.hasFirstLine(newest: length) {
      guard let key = findKeyInBody() else { return }
      if let account = gate.admits(key) { admitted(account, context) } else { asks = true }
      guard self.exchange === exchange, exchange.failure == nil else { return }
    }
    do throws(ByteBudget.Shortage) { try budget.take(length, for: &exchange.held, isBrief: isWhole) } catch {
      return fail(.unavailable(.init(error)))
    }
    if asks { askForKey(from: client, context) }
  }

  /// The request is whole.
  private func finish(_ context: ChannelHandlerContext) {
    guard let exchange else { return }
    if let (why, _) = exchange.failure { return say(why) }
    guard exchange.purpose != .preflight else { return answer(.preflight) }
    guard let account = exchange.account else {
      if exchange.key == nil, findKeyInBody() != nil { askForKey(from: client, context) }
      return
    }
    switch exchange.purpose {
    case .push: gate.push(exchange, for: self)
    case .batch: count(exchange, of: account, context)
    case .probe: answer(.active(account: account))
    case .preflight: break
    }
  }

  /// Counts the events of a batch, each of which is answered, and hands it over.
  private func count(_ exchange: Exchange, of account: String, _ context: ChannelHandlerContext) {
    do throws(PushRejection) {
      let batch = try Batch(
        exchange.request.body, exchange.media,
        contentType: (exchange.labels?.contentType).map { String(decoding: $0, as: UTF8.self) },
        contentEncoding: (exchange.labels?.contentEncoding).map { String(decoding: $0, as: UTF8.self) })
      if let events = try batch.countBriefly() { return try push(exchange, holding: events) }
      exchange.isBeingCounted = true
      shared.batches.count(batch, of: account, on: context.eventLoop).assumeIsolated().whenComplete { result in
        exchange.isBeingCounted = false
        guard !self.wire.isClosed, self.exchange === exchange else { return self.giveBack(&exchange.held) }
        do throws(PushRejection) {
          switch result {
          case .success(let events): try self.push(exchange, holding: events)
          case .failure(let error): throw error as? PushRejection ?? .unavailable(.nodeFull)
          }
        } catch {
          self.fail(error)
        }
        self.drive(context)
      }
    } catch {
      fail(error)
    }
  }

  private func push(_ exchange: Exchange, holding events: Int) throws(PushRejection) {
    // Of a few bytes that unfold to many events the answer is a thousand times as long.
    var held = HeldBytes(network: exchange.held.network, account: exchange.account)
    do throws(ByteBudget.Shortage) {
      try budget.take(events * exchange.dialect.answerBytesPerEvent, for: &held)
    } catch {
      throw .unavailable(.init(error))
    }
    exchange.answerHeld = held
    exchange.events = events
    gate.push(exchange, for: self)
  }

  /// - Returns: nil where there is none, which the client is told.
  private func findKeyInBody() -> KeyID? {
    guard let exchange else { return nil }
    switch PresentedKey.findDSN(in: exchange.request.body.readableBytesSpan) {
    case .key(let key):
      exchange.key = key
      // From here on it has the body's deadline.
      watchedPhase = nil
      return key
    case .tooLong: fail(.keyTooLong(limit: PresentedKey.limit))
    case .missing: fail(exchange.withoutKey)
    }
    return nil
  }

  func handedOver(_ number: RequestNumber, _ outcome: PushOutcome) {
    // A connection that is over has none.
    guard let context, let exchange, exchange.number == number else { return }
    switch outcome {
    case .success(let id): answer(.accepted(Accepted(id: id, media: exchange.media, events: exchange.events)))
    case .failure(let why): fail(why)
    }
    drive(context)
  }

  // MARK: Answers

  private enum Answer {
    case accepted(Accepted)
    case active(account: String)
    case preflight
  }

  /// Says why the request isn't taken: now, or when its body has come, if it can't be told how long that is. An answer before
  /// the end of such a body would have to end the connection, and many clients send nothing but chunks.
  private func fail(_ why: PushRejection) {
    guard let exchange, exchange.isChunked, !exchange.isWhole, !wire.machine.awaitsInvitation else { return say(why) }
    exchange.request.body = ByteBuffer()
    giveBack(&exchange.held)
    exchange.failure = (why, 0)
    // What still comes is thrown away, and has just the time for that.
    watchedPhase = nil
  }

  private func say(_ why: PushRejection) {
    guard let (exchange, framing) = answered() else { return }
    wire.write(Reply(template: shared.refusal(why, in: exchange.dialect, exchange.media)), framing)
  }

  private func answer(_ answer: Answer) {
    guard let (exchange, framing) = answered() else { return }
    let name = exchange.dialect.name
    switch answer {
    case .accepted(let accepted):
      shared.counters.countAccepted(exchange.dialect)
      wire.write(exchange.dialect.accepted(accepted), framing)
    case .active(let account):
      shared.counters.count(dialect: name, status: 200, reason: "active", .noPayload)
      wire.write(exchange.dialect.active(account), framing)
    case .preflight:
      shared.counters.count(dialect: name, status: 200, reason: "preflight", .noPayload)
      wire.write(Reply(template: Dialects.preflight), framing)
    }
  }

  /// Takes the exchange as answered, unless the machine won't have it.
  private func answered() -> (Exchange, ResponseFraming)? {
    guard let exchange else { return nil }
    self.exchange = nil
    giveBack(&exchange.held)
    if exchange.events != nil, let held = exchange.answerHeld { unsent.append(held) }
    // While the node ends each connection ends with its next answer.
    if shared.stopping.isSet { wire.machine.stop() }
    guard let framing = wire.machine.answer(exchange.number) else { return nil }
    return (exchange, framing)
  }

  /// The machine answers by itself, whether or not there is an exchange.
  private func refuse(_ refusal: ProtocolError, _ framing: ResponseFraming) {
    var dialect = exchange?.dialect ?? shared.fallback
    var media = exchange?.media ?? .other
    var why = refusal == .bodyTooLarge ? .tooLarge(limit: shared.limits.bodyBytes) : PushRejection.unreadable(refusal)
    // What else is wrong with it is known: who sends chunks slowly and without end would never hear that.
    if refusal == .tooSlow, let failure = exchange?.failure { why = failure.why }
    if let exchange { giveBack(&exchange.held) }
    // Too large by what its head announces: the head is whole, and still there.
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

  /// Sets the deadline of the phase, when it is another one. The timer is moved only where it would ring too late: a connection that is
  /// busy doesn't touch it.
  /// - Parameter isIdle: Whether it waits for a request, and its client has read its answers.
  private func watch(_ phase: ConnectionPhase, isIdle: Bool = false, _ context: ChannelHandlerContext) {
    guard !wire.isClosed, phase != watchedPhase else { return }
    watchedPhase = phase
    guard let allowed = time(for: phase) else {
      deadline = .distantFuture
      place?.mayEndFrom = .distantFuture
      return
    }
    let now = context.eventLoop.now
    deadline = now + allowed
    place?.mayEndFrom = isIdle ? now : now + Self.patience
    if timer.map({ deadline < $0.at }) ?? true { setTimer(context) }
  }

  private func time(for phase: ConnectionPhase) -> TimeAmount? {
    let deadlines = shared.deadlines
    guard phase == .body, let exchange else { return deadlines[phase] }
    if exchange.failure != nil { return deadlines.discard }
    // Anybody can send a body without a key, and it holds room that others with the key in the body need.
    return exchange.keyIsInBody && exchange.keepsBody ? min(deadlines.head, deadlines.body) : deadlines.body
  }

  /// A client that has to send something, and hasn't sent much for so long, may be closed for another.
  private static let patience = TimeAmount.seconds(5)
  /// How much that is, in bytes: with less a client could look busy for next to nothing.
  private static let progress = 16 << 10

  private func noteProgress(_ length: Int, _ context: ChannelHandlerContext) {
    unnoted += length
    guard unnoted >= Self.progress else { return }
    unnoted = 0
    place?.mayEndFrom = context.eventLoop.now + Self.patience
  }

  private func setTimer(_ context: ChannelHandlerContext) {
    timer?.task.cancel()
    let deadline = deadline
    let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { self.timerRang(context) }
    timer = (deadline, task)
  }

  private func timerRang(_ context: ChannelHandlerContext) {
    timer = nil
    guard !wire.isClosed, deadline != .distantFuture else { return }
    guard deadline <= context.eventLoop.now else { return setTimer(context) }
    // The verdict has a deadline of its own.
    guard !wire.awaitsVerdict else {
      watchedPhase = nil
      return watch(wire.machine.phase, context)
    }
    let step = wire.machine.deadlinePassed()
    // For what isn't written the time is over too.
    if step.action == .close { return context.close(promise: nil) }
    _ = carryOut(step, context)
    drive(context)
  }
}

extension TrustedProxies {
  /// Whom a request comes from that a peer has sent.
  fileprivate func sender(of head: RequestHead, _ bytes: RawSpan, from peer: IPAddress) -> IPAddress {
    ForwardedFor.client(peer: peer, trusted: self, values: head.all("x-forwarded-for", in: bytes), in: bytes)
  }
}
