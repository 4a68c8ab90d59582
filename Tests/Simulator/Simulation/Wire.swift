// The connections between nodes and servers: the driver's work, and the network's faults.

import KeyReplica
import SimulatedStore

extension Simulation {
  static let connectDeadline = Duration.seconds(1)
  static let shortDeadline = Duration.seconds(1)
  static let longDeadline = Duration.seconds(3)
  static let feedWait = Duration.milliseconds(500)
  /// Changes that one read takes at most.
  static let feedBatch = 5

  // MARK: The node's life

  func begin(_ node: SimulatedNode) {
    guard node.process == nil else { return }
    node.incarnation += 1
    node.bornAt = now
    node.restoredHeardAt = nil
    node.restoredSlack = .zero
    node.restoredHeldBack = []
    node.checkedAdmitUntil = nil
    node.admittedAt = [:]
    node.unknownAt = [:]
    node.windowStart = now
    node.commandsInWindow = 0
    node.questionsInWindow = 0
    node.mayRead = []
    let image = restoreImage(node)
    node.table = image?.table ?? KeyTable(bucketCount: bucketCount)
    // As the driver does it: an image from the future is as old as can be told, not at all.
    func moment(of time: Double) -> Instant { now + .nanoseconds(-Int64(max(0, wallClock(of: node) - time) * 1e9)) }
    let heardAt = image.map { moment(of: $0.heardAt) }
    node.restoredHeardAt = heardAt
    node.held = SimulatedKeys.all.map { Holding(of: $0, in: node.table) }
    node.sawActive = node.held.map(\.isActive)
    node.trusted = image == nil ? nil : node.stateFileStore
    node.becameActive =
      image == nil ? Array(repeating: nil, count: SimulatedKeys.all.count) : node.stateFileBecameActive
    node.confirmations = image == nil ? Confirmations() : node.stateFileConfirmations.restored
    node.process = SimulatedNode.Process(
      Replica(
        table: node.table, limits: node.limits, restoredFrom: heardAt, held: image?.held.mapValues(moment) ?? [:],
        announced: image?.announced, remembering: image?.memory, seed: random.next(), now: now))
    note { "node \(node.index) starts \(image == nil ? "cold" : "with its state file")" }
    give(node, .timePassed)
  }

  func crash(_ node: SimulatedNode, gracefully: Bool) {
    guard node.process != nil else { return }
    note { "node \(node.index) \(gracefully ? "is shut down" : "crashes")" }
    if gracefully {
      saveImage(node)
      give(node, .shutDown)
      if !node.pending.isEmpty { fail("node \(node.index) left \(node.pending.count) questions open when it ended") }
    }
    node.process = nil
    node.link = nil
    node.connecting = nil
    node.pending = []
    node.incarnation += 1
    node.wakeAt = nil
    summary.restarts += 1
    agenda.add(.restart(node: node.index), at: now + .milliseconds(random.within(1...500)))
  }

  /// Seconds since 1970, by the node's own clock.
  func wallClock(of node: SimulatedNode) -> Double {
    1_763_683_200 + Double((now - start).wholeNanoseconds) / 1e9 + node.wallOffset.fractionalSeconds
  }

  private static let source = "a store"

  func saveImage(_ node: SimulatedNode) {
    guard let process = node.process, let age = process.status(at: now).age else { return }
    guard var image = process.image(source: Self.source, at: now, wall: wallClock(of: node)) else { return }
    node.stateFileStore = node.trusted
    // Somebody has copied the folder of a node of another store.
    if image.memory != nil, random.chance(mix[.foreignStateFile]) {
      count(.foreignStateFile)
      image.memory?.store = StoreIdentity(id: "somebody else's store")
      node.stateFileStore = image.memory?.store.id
    }
    var bytes = image.encoded()
    if random.chance(mix[.tornStateFile]) {
      count(.tornStateFile)
      if random.chance(500) {
        bytes.removeLast(1 + random.below(bytes.count))
      } else {
        bytes[random.below(bytes.count)] ^= UInt8(1 << random.below(8))
      }
      node.stateFileMustBeRefused = true
    } else {
      node.stateFileMustBeRefused = false
    }
    node.stateFile = bytes
    node.stateFileBecameActive = zip(node.becameActive, SimulatedKeys.all).map { moment, key in
      process.held(key) == nil ? nil : moment
    }
    node.stateFileConfirmations = node.confirmations
    node.stateFileHeldBack = Set(SimulatedKeys.all.filter { isHeldBack(node, $0) })
    // What it believes of the age may come from a file itself.
    let isSecondHand = SimulatedKeys.all.contains { isRestored(node, process.held($0)?.until) }
    node.stateFileHeardAt = earlier(by: age + (isSecondHand ? node.restoredSlack : .zero))
  }

  private func restoreImage(_ node: SimulatedNode) -> MirrorImage? {
    guard let bytes = node.stateFile else { return nil }
    do throws(UnusableImage) {
      let image = try MirrorImage(decoding: bytes, source: Self.source, bucketCount: bucketCount)
      if node.stateFileMustBeRefused { fail("node \(node.index) took a state file that is torn") }
      node.restoredHeldBack = node.stateFileHeldBack
      let believed = max(0, wallClock(of: node) - image.heardAt)
      node.restoredSlack = max(.zero, now - node.stateFileHeardAt - .nanoseconds(Int64(believed * 1e9)))
      return image
    } catch {
      if !node.stateFileMustBeRefused { fail("node \(node.index) refused a good state file: \(error)") }
      return nil
    }
  }

  func wake(_ node: SimulatedNode) {
    guard let process = node.process, let due = node.wakeAt, due <= now else { return }
    node.wakeAt = nil
    if let next = process.nextWake, next <= now {
      give(node, .timePassed)
      if let next = node.process?.nextWake, next <= now {
        fail("node \(node.index) wants to be woken again at once")
      }
    } else {
      setAlarm(node)
    }
  }

  private func setAlarm(_ node: SimulatedNode) {
    guard let next = node.process?.nextWake else { return }
    if let set = node.wakeAt, set <= next { return }
    node.wakeAt = next
    agenda.add(.wake(node: node.index), at: max(next, now))
  }

  // MARK: Events and commands

  func give(_ node: SimulatedNode, _ event: Replica.Event) {
    guard node.process != nil else { return }
    if case .position(let session, _, let fence, .success) = event, (fence.signs.following ?? 0) > 0,
      node.link?.session == session
    {
      node.link!.sawReplica = true
    }
    willGive(node, event)
    let commands = node.process!.handle(event, now: now)
    note { "node \(node.index): \(words(event)) → \(commands.map { words($0) }.joined(separator: "; "))" }
    node.guardMoved = commands.contains { command in
      switch command {
      case .note(.guarded), .note(.guardReleased): true
      default: false
      }
    }
    // It reads buckets, or none differs and it follows: then it reads changes, unless such a read is under way. While it
    // waits to compare again, it has learnt nothing.
    node.tookManifest = commands.contains { command in
      switch command {
      case .readBucket, .readChanges, .note(.complete), .note(.guardReleased): true
      default: false
      }
    }
    for command in commands { carryOut(node, command) }
    check(node, after: event)
    setAlarm(node)
  }

  private func carryOut(_ node: SimulatedNode, _ command: Replica.Command) {
    switch command {
    case .connect(let session):
      sent(node)
      node.connecting = session
      agenda.add(.connected(node: node.index, session), at: now + delay(node))
      agenda.add(.connectTimedOut(node: node.index, session), at: now + Self.connectDeadline)
    case .disconnect(let session): if node.link?.session == session { node.link = nil }
    case .readBucket(let session, let index):
      mayRead(node, bucket: index)
      send(node, command, session, feed: false, within: Self.longDeadline)
    case .readManifest(let session, _): send(node, command, session, feed: false, within: Self.longDeadline)
    case .readPosition(let session, _, _): send(node, command, session, feed: false, within: Self.shortDeadline)
    case .readChanges(let session, _):
      send(node, command, session, feed: true, within: Self.feedWait + Self.shortDeadline)
    case .recordReplicas(let session, let count): record(node, session, count)
    case .answer(let question, let verdict): answered(node, question, verdict)
    case .note(let words): noted(node, words)
    }
  }

  /// A write without an answer: it arrives or not, and the next position tells.
  private func record(_ node: SimulatedNode, _ session: Replica.ConnectionID, _ count: Int) {
    sent(node)
    guard let link = node.link, link.session == session, !link.control.isLost, !occurs(.lostMessage) else { return }
    let server = servers[link.server]
    if server.isDown || server.isDemoted || server.failing > 0 || server.stalledUntil.map({ $0 > now }) ?? false {
      return
    }
    server.recorded = max(server.recorded, count)
  }

  func ask(_ node: SimulatedNode, _ key: KeyID) {
    guard node.process != nil else { return }
    questions += 1
    node.questionsInWindow += 1
    let question = Question(number: questions, key: key)
    node.pending.append(SimulatedNode.Pending(question: question, askedAt: now))
    give(node, .asked(question))
  }

  // MARK: Conversations

  func connected(_ node: SimulatedNode, _ session: Replica.ConnectionID) {
    guard node.process != nil, node.connecting == session else { return }
    let server = servers[address]
    if server.stalledUntil.map({ $0 > now }) ?? false { return }
    if server.isDown {
      connectFailed(node, session, "connection refused")
    } else if occurs(.refusedConnection) {
      connectFailed(node, session, "connection reset")
    } else if server.isDemoted {
      connectFailed(node, session, "expected a primary, but it calls itself slave")
    } else {
      node.connecting = nil
      node.link = SimulatedNode.Link(session: session, server: address)
      give(node, .connected(session))
      repeatPerhaps(node, .connected(session))
    }
  }

  func connectFailed(_ node: SimulatedNode, _ session: Replica.ConnectionID, _ reason: String) {
    node.connecting = nil
    give(node, .disconnected(session, reason: reason))
  }

  private func send(
    _ node: SimulatedNode, _ command: Replica.Command, _ session: Replica.ConnectionID, feed: Bool,
    within limit: Duration
  ) {
    sent(node)
    guard node.link?.session == session else {
      fail("node \(node.index) sent a command in a session that is over: \(words(command))")
      return
    }
    node.link![feed: feed].exchanges.append(SimulatedNode.Exchange(command: command, deadline: now + limit))
    if occurs(.lostMessage) { node.link![feed: feed].isLost = true }
    if !node.link![feed: feed].deadlineIsSet {
      node.link![feed: feed].deadlineIsSet = true
      agenda.add(.deadline(node: node.index, session, feed: feed), at: now + limit)
    }
    later(.execute(node: node.index, session, feed: feed), node, feed: feed)
  }

  /// After a while, but not before what is on its way in the same conversation.
  private func later(_ what: Happening, _ node: SimulatedNode, feed: Bool) {
    let moment = max(node.link![feed: feed].lastAt, now + delay(node))
    node.link![feed: feed].lastAt = moment
    agenda.add(what, at: moment)
  }

  func deadline(_ node: SimulatedNode, _ session: Replica.ConnectionID, feed: Bool) {
    guard node.link?.session == session else { return }
    guard let first = node.link![feed: feed].exchanges.map(\.deadline).min() else {
      node.link![feed: feed].deadlineIsSet = false
      return
    }
    if first <= now {
      drop(node, "no answer in time")
    } else {
      agenda.add(.deadline(node: node.index, session, feed: feed), at: first)
    }
  }

  /// A conversation ends, with all that is on its way in it.
  func drop(_ node: SimulatedNode, _ reason: String) {
    guard let link = node.link else { return }
    node.link = nil
    for exchange in link.control.exchanges + link.feed.exchanges where exchange.reply != nil && occurs(.lateReply) {
      stray(node, exchange.reply!, within: 1500)
    }
    give(node, .disconnected(link.session, reason: reason))
    repeatPerhaps(node, .disconnected(link.session, reason: reason))
  }

  func dropAll(on server: Int, silently: Bool, _ reason: String) {
    for node in nodes where node.link?.server == server {
      if silently {
        node.link!.control.isLost = true
        node.link!.feed.isLost = true
      } else {
        drop(node, reason)
      }
    }
  }

  func deliver(_ node: SimulatedNode, _ session: Replica.ConnectionID, feed: Bool) {
    guard node.link?.session == session, !node.link![feed: feed].isLost,
      let reply = node.link![feed: feed].exchanges.first?.reply
    else { return }
    node.link![feed: feed].exchanges.removeFirst()
    give(node, reply)
    repeatPerhaps(node, reply)
  }

  private func repeatPerhaps(_ node: SimulatedNode, _ event: Replica.Event) {
    // Reads of changes have no numbers, there being one at a time: of those a driver may bring back each answer once.
    if case .changes = event { return }
    guard occurs(.duplicateEvent) else { return }
    if random.chance(500) { stray(node, event) } else { give(node, event) }
  }

  private func stray(_ node: SimulatedNode, _ event: Replica.Event, within milliseconds: Int = 400) {
    strayCount += 1
    let number = strayCount
    strays[number] = event
    agenda.add(
      .stray(node: node.index, incarnation: node.incarnation, number: number),
      at: now + .microseconds(random.within(100...milliseconds * 1000)))
  }

  // MARK: At the server

  func execute(_ node: SimulatedNode, _ session: Replica.ConnectionID, feed: Bool) {
    guard let link = node.link, link.session == session, !link[feed: feed].isLost,
      let index = link[feed: feed].exchanges.firstIndex(where: { $0.reply == nil })
    else { return }
    let server = servers[link.server]
    if server.isDown { return }
    if let until = server.stalledUntil, until > now {
      agenda.add(.execute(node: node.index, session, feed: feed), at: until)
      return
    }
    let exchange = link[feed: feed].exchanges[index]
    let failure = server.failing > 0 && random.chance(server.failing) ? Replica.ReadFailure("LOADING") : nil
    func result<Value>(_ value: @autoclosure () -> Value) -> Result<Value, Replica.ReadFailure> {
      failure.map { .failure($0) } ?? .success(value())
    }
    switch exchange.command {
    case .readManifest, .readPosition:
      // The driver asks for the role with these, and hangs up where it isn't what it should be.
      if server.isDemoted, failure == nil { return drop(node, "expected a primary, but it calls itself slave") }
    default: break
    }
    let store = server.dataset.store
    let reply: Replica.Event
    let time = server.denied.contains(.time) ? nil : clock(of: server)
    switch exchange.command {
    case .readManifest(_, let read): reply = .manifest(session, read: read, result(server.manifest(at: time)))
    case .readBucket(_, let bucket): reply = .bucket(session, bucket, result(store.bucket(bucket)))
    case .readPosition(_, let read, let fencedBy):
      if let time { noteReading(of: time) }
      reply = .position(session, read: read, server.fence(by: fencedBy), result(server.position(at: time)))
    case .readChanges(_, let version):
      let changes = store.changes(after: version, atMost: Self.feedBatch)
      if changes.isEmpty, failure == nil {
        if let until = exchange.parkedUntil {
          if until > now { return }
        } else {
          node.link!.feed.exchanges[index].parkedUntil = now + Self.feedWait
          agenda.add(.execute(node: node.index, session, feed: true), at: now + Self.feedWait)
          return
        }
      }
      reply = .changes(session, result(changes))
    case .connect, .disconnect, .recordReplicas, .answer, .note: return
    }
    node.link![feed: feed].exchanges[index].reply = reply
    later(.deliver(node: node.index, session, feed: feed), node, feed: feed)
  }

  /// A paused server now processes the commands in its sockets.
  func executeWaiting() {
    for node in nodes {
      guard let link = node.link else { continue }
      for feed in [false, true] {
        for exchange in link[feed: feed].exchanges where exchange.reply == nil && exchange.parkedUntil == nil {
          agenda.add(.execute(node: node.index, link.session, feed: feed), at: now)
        }
      }
    }
  }

  /// Every node that waits for changes at this server looks again.
  func wakeFeeds(at server: Int) {
    for node in nodes {
      guard let link = node.link, link.server == server, link.feed.exchanges.first?.parkedUntil != nil else { continue }
      agenda.add(.execute(node: node.index, link.session, feed: true), at: now)
    }
  }

  /// Mostly quick, at times slow enough for anything to come in between.
  func delay(_ node: SimulatedNode) -> Duration {
    let slowness = node.link.map { servers[$0.server].slowness } ?? 1
    return .microseconds(random.within(200...(faulty && random.chance(120) ? longDelay : 3_000)) * slowness)
  }

  func occurs(_ kind: FaultKind) -> Bool {
    guard faulty, mix[kind] > 0, random.chance(mix[kind]) else { return false }
    count(kind)
    return true
  }
}
