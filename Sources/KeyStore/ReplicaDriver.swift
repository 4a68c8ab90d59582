// Runs the replica's state machine on Redis: carries out its commands, and passes the resulting events to it. The
// driver decides nothing. Everything is on one event loop, so events reach the state machine one at a time and in the
// order of the replies.
//
// A session has two connections. The feed waits in Redis for changes, which blocks every later command on it. The
// control connection is for all the short reads. When either ends, both are closed. Both must lead to the same server,
// which isn't guaranteed behind a proxy.

import Foundation
import Hiredis
public import KeyReplica
public import Logging
public import NIOCore
public import RedisClient

/// A mirror of the key store that keeps itself up to date.
public final class ReplicaDriver: Sendable {
  private let eventLoop: any EventLoop
  private let table: KeyTable
  private let core: NIOLoopBoundBox<Core>

  /// - Parameters:
  ///   - image: The saved mirror of an earlier process. Its keys are admitted at once, until the image is too old.
  ///   - store: The name of the store to mirror; nil for any name.
  ///   - logger: Logs everything that an operator needs to know.
  ///   - eventLoop: Should be one that serves no requests: a large resync keeps it busy for a while.
  public init(
    endpoint: RedisEndpoint, layout: StoreLayout, limits: Replica.Limits = .init(), restoring image: MirrorImage? = nil,
    store: String? = nil, name: String, on eventLoop: any EventLoop, logger: Logger
  ) {
    self.eventLoop = eventLoop
    let table = image?.table ?? KeyTable(bucketCount: StoreLayout.bucketCount)
    // An image with a time in the future is treated as just saved.
    let (now, wall) = (Instant.now, Date().timeIntervalSince1970)
    func moment(of time: Double) -> Instant { now + .seconds(-max(0, wall - time)) }
    self.table = table
    var options = RedisOptions()
    options.name = name
    core = NIOLoopBoundBox.makeBoxSendingValue(
      Core(
        endpoint: endpoint, layout: layout, options: options, eventLoop: eventLoop, logger: logger,
        replica: Replica(
          table: table, limits: limits, restoredFrom: image.map { moment(of: $0.heardAt) },
          held: image?.held.mapValues(moment) ?? [:], announced: image?.announced, storeName: store,
          remembering: image?.memory, seed: .random(in: .min ... .max), now: now)),
      eventLoop: eventLoop)
  }

  /// Starts connecting and mirroring.
  public func start() {
    eventLoop.execute { [core] in core.value.take(.timePassed) }
  }

  /// Closes the connections. Waiting questions are answered.
  public func stop() {
    eventLoop.execute { [core] in core.value.take(.shutDown) }
  }

  /// The account of a key, if the mirror alone shows that the key is admitted. nil if ``verdict(of:)`` has to be
  /// called. Safe and fast on any thread.
  public func admits(_ key: KeyID) -> String? {
    guard let held = table.held(key), held.isAdmitted(at: .recent) else { return nil }
    table.recentlyAdmitted.note(key)
    return held.account
  }

  /// The verdict on a key, after a bounded wait for the store's proof if necessary. The future doesn't fail.
  public func verdict(of key: KeyID) -> EventLoopFuture<Verdict> {
    let promise = eventLoop.makePromise(of: Verdict.self)
    eventLoop.execute { [core] in core.value.ask(key) { promise.succeed($0) } }
    return promise.futureResult
  }

  /// The same, for an event loop with many questions.
  public func desk(for eventLoop: any EventLoop) -> VerdictBatcher {
    VerdictBatcher(for: eventLoop, askingOn: self.eventLoop) { [core] keys, answer in
      for (place, key) in keys.enumerated() { core.value.ask(key) { answer(place, $0) } }
    }
  }

  /// Completes when the mirror can prove refusals, or after the limit. The future doesn't fail.
  public func canRefuse(within limit: TimeAmount) -> EventLoopFuture<Void> {
    let promise = eventLoop.makePromise(of: Void.self)
    eventLoop.execute { [core] in core.value.wait(promise, within: limit) }
    return promise.futureResult
  }

  /// The current mirror, to be saved; nil if it has never been a whole, sealed store. The future fails only when the
  /// event loop has ended.
  /// - Parameter source: The name of the source in the image.
  public func image(source: String) -> EventLoopFuture<MirrorImage?> {
    eventLoop.submit { [core] in core.value.image(source: source) }
  }

  /// How complete and fresh the mirror is now. The future doesn't fail.
  public func status() -> EventLoopFuture<ReplicaStatus> {
    eventLoop.submit { [core] in core.value.status() }
  }
}

extension Instant {
  /// The machine's monotonic clock.
  public static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

  /// The same clock, at most a few milliseconds late, for a tenth of the cost: for an exact reading the processor has
  /// to finish all earlier instructions first.
  public static var recent: Instant {
    #if os(Linux)
      var time = timespec()
      // This can't fail: the clock exists, and the pointer is valid.
      clock_gettime(CLOCK_MONOTONIC_COARSE, &time)
      return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    #else
      return now
    #endif
  }
}

/// The driver's state, on its event loop.
private final class Core {
  private let endpoint: RedisEndpoint
  private let layout: StoreLayout
  private let options: RedisOptions
  private let eventLoop: any EventLoop
  private let logger: Logger

  /// The two connections of a session, and the facts about their server.
  private struct Links {
    let session: Replica.ConnectionID
    let control: RedisConnection
    let feed: RedisConnection
    let server: ServerAccount
    /// Number of programs that copy the data set and acknowledge it, at the last reading.
    var copies = 0
  }

  private var replica: Replica
  private var events: [Replica.Event] = []
  private var handling = false
  private var links: Links?
  private var recordFailure: String?
  private var saidShortcoming: String?
  /// Whether the log says that Redis denies TIME.
  private var saidTimeless = false
  private var alarm: (at: Instant, task: Scheduled<Void>)?
  private var nextQuestion: UInt64 = 0
  private var asked: [UInt64: (Verdict) -> Void] = [:]
  /// Callers that wait until refusals can be proven.
  private var waiting: [EventLoopPromise<Void>] = []

  /// How long a read of changes waits in Redis, and the maximum number of changes.
  private static let feedWait = TimeAmount.seconds(1)
  private static let feedBatch = 1000
  /// Maximum time of short reads, for which proofs may be waiting. A vanished peer is noticed after this time.
  private static let shortDeadline = TimeAmount.seconds(2)
  private static let longDeadline = TimeAmount.seconds(10)

  init(
    endpoint: RedisEndpoint, layout: StoreLayout, options: RedisOptions, eventLoop: any EventLoop, logger: Logger,
    replica: Replica
  ) {
    self.endpoint = endpoint
    self.layout = layout
    self.options = options
    self.eventLoop = eventLoop
    self.logger = logger
    self.replica = replica
  }

  func image(source: String) -> MirrorImage? {
    replica.image(source: source, at: .now, wall: Date().timeIntervalSince1970)
  }

  func status() -> ReplicaStatus { replica.status(at: .now) }

  func wait(_ promise: EventLoopPromise<Void>, within limit: TimeAmount) {
    waiting.append(promise)
    // A promise that has been kept already ignores this.
    eventLoop.assumeIsolated().scheduleTask(in: limit) { promise.succeed() }
    completeWaiting()
  }

  private func completeWaiting() {
    guard !waiting.isEmpty, status().objection == nil else { return }
    for promise in waiting { promise.succeed() }
    waiting = []
  }

  func ask(_ key: KeyID, _ answer: @escaping (Verdict) -> Void) {
    nextQuestion += 1
    asked[nextQuestion] = answer
    take(.asked(Question(number: nextQuestion, key: key)))
  }

  /// Passes an event to the state machine. Carrying out a command may cause another event at once; that event is
  /// queued.
  func take(_ event: Replica.Event) {
    events.append(event)
    guard !handling else { return }
    handling = true
    while !events.isEmpty {
      for command in replica.handle(events.removeFirst(), now: .now) { carryOut(command) }
    }
    handling = false
    completeWaiting()
    setAlarm()
  }

  private func setAlarm() {
    guard let next = replica.nextWake else {
      alarm?.task.cancel()
      alarm = nil
      return
    }
    if let alarm, alarm.at == next { return }
    alarm?.task.cancel()
    let deadline = NIODeadline.uptimeNanoseconds(UInt64(max(next.nanoseconds, 0)))
    let task = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
      self.alarm = nil
      self.take(.timePassed)
    }
    alarm = (next, task)
  }

  private func carryOut(_ command: Replica.Command) {
    switch command {
    case .connect(let session): connect(session)
    case .disconnect(let session): disconnect(session)
    case .readManifest(let session, let read):
      guard let source = links?.server.source else { return }
      ask(session) { [endpoint] control, layout in
        let manifest = control.run(ManifestScript(layout: layout), within: Self.longDeadline)
        return control.send(source.question(layout), within: Self.longDeadline).and(manifest).flatMapThrowing {
          role, manifest in
          try Self.expectPrimary(try source.role(from: role), at: endpoint)
          return manifest
        }
      } then: { [layout] reply in
        .manifest(session, read: read, Self.understood(reply, ManifestScript(layout: layout).read))
      }
    case .readBucket(let session, let index):
      ask(session) { control, layout in
        control.send(layout.bucketCommand(index), within: Self.longDeadline)
      } then: { [layout] reply in
        .bucket(session, index, Self.understood(reply, layout.rawBucket(from:)))
      }
    case .readPosition(let session, let read, let fencedBy):
      guard let links else { return }
      let (copies, server) = (links.copies, links.server)
      ask(session) { [endpoint] control, layout in
        let commands = layout.fencedPositionCommands(confirmedBy: fencedBy, besides: copies, server.source)
        return control.send(commands, within: Self.shortDeadline).flatMapThrowing { replies in
          let role = try server.source.role(from: replies[replies.count - 1])
          try Self.expectPrimary(role, at: endpoint)
          return (replies, role)
        }
      } then: { [layout, endpoint] replies, role in
        self.links?.copies = role.acknowledgingCopies
        let fence = layout.fence(from: replies, role: role, server: server, isWatched: endpoint.isWatched)
        let position = Self.understood(replies[replies.count - 2]) { reply in
          _ = try StoreLayout.followers(from: replies[replies.count - 3])
          return try layout.position(from: reply)
        }
        self.sayTimeless(position)
        return .position(session, read: read, fence, position)
      }
    case .recordReplicas(let session, let count): record(count, session)
    case .readChanges(let session, let version):
      let wait = Int(Self.feedWait.nanoseconds / 1_000_000)
      ask(session, feed: true) { feed, layout in
        feed.send(
          layout.changesCommand(after: version, waitingMilliseconds: wait, atMost: Self.feedBatch),
          within: Self.feedWait + Self.shortDeadline)
      } then: { [layout] reply in
        .changes(session, Self.understood(reply, layout.changes(from:)))
      }
    case .answer(let question, let verdict):
      asked.removeValue(forKey: question.number)?(verdict)
    case .note(let note): log(note)
    }
  }

  /// The value of a reply, if it has the expected form.
  private static func understood<Value>(
    _ reply: RedisReply, _ read: (RedisReply) throws -> Value
  ) -> Result<Value, Replica.ReadFailure> {
    do { return .success(try read(reply)) } catch { return .failure(Replica.ReadFailure("\(error)")) }
  }

  private func ask<Reply: Sendable>(
    _ session: Replica.ConnectionID, feed: Bool = false,
    _ send: (RedisConnection, StoreLayout) -> EventLoopFuture<Reply>,
    then event: @escaping (Reply) -> Replica.Event?
  ) {
    guard let links, links.session == session else { return }
    send(feed ? links.feed : links.control, layout).assumeIsolated().whenComplete { result in
      switch result {
      case .success(let reply): if let event = event(reply) { self.take(event) }
      case .failure(let error): self.ended(session, because: "\(error)")
      }
    }
  }

  private func record(_ count: Int, _ session: Replica.ConnectionID) {
    ask(session) { control, layout in
      control.send(layout.recordCommand(followers: count), within: Self.shortDeadline)
    } then: { reply in
      var failure: String?
      if case .error(let error) = reply { failure = "\(error)" }
      // The command is repeated with each position, but its failure is logged once.
      if let failure, failure != self.recordFailure {
        self.logger.warning(
          """
          can't record the number of replicas in Redis: if they vanish, a promotion can go unnoticed. See \
          Deploy/redis/users.acl for the rights of this Redis user
          """,
          metadata: ["replicas": "\(count)", "reason": "\(failure)"])
      }
      self.recordFailure = failure
      return nil
    }
  }

  private func connect(_ session: Replica.ConnectionID) {
    var options = options
    options.needsPrimary = true
    var feedOptions = options
    feedOptions.name += "-feed"
    let control = RedisConnection.connect(to: endpoint, options: options, routedBy: layout.slot, on: eventLoop)
    let feed = RedisConnection.connect(to: endpoint, options: feedOptions, routedBy: layout.slot, on: eventLoop)
    let servers = [control, feed].map { [layout] link in
      link.flatMap { ServerAccount.read(from: $0, layout, within: Self.shortDeadline) }
    }
    let server = servers[0].and(servers[1]).flatMapThrowing { [endpoint] ours, feeds in
      try Self.expectPrimary(ours.role, at: endpoint)
      try Self.expectPrimary(feeds.role, at: endpoint)
      return (ours, feeds)
    }.flatMap { [layout, endpoint, eventLoop] ours, feeds in
      let same =
        ours.runID == nil && feeds.runID == nil
        ? control.and(feed).flatMap { layout.meet(writing: $0, reading: $1, within: Self.shortDeadline) }
        : eventLoop.makeSucceededFuture(ours.runID == feeds.runID)
      return same.flatMapThrowing { same in
        guard same else {
          throw UnreadableStore(
            "expected one server at \(endpoint), but two connections reached two different ones: give the address of "
              + "one Redis, not of a load balancer")
        }
        return ours
      }
    }
    server.assumeIsolated().whenComplete { result in
      do {
        // Both futures are complete, or `server` had failed.
        self.established(session, control: control, feed: feed, try result.get())
      } catch {
        control.whenSuccess { $0.close() }
        feed.whenSuccess { $0.close() }
        self.take(.disconnected(session, reason: "\(error)"))
      }
    }
  }

  /// A primary that was demoted may keep its connections, but its answers no longer prove anything.
  private static func expectPrimary(_ role: ServerRole, at endpoint: RedisEndpoint) throws {
    guard role.name == "master" else {
      throw UnreadableStore("expected a primary at \(endpoint), but it calls itself \(role.name)")
    }
  }

  private func established(
    _ session: Replica.ConnectionID, control: EventLoopFuture<RedisConnection>, feed: EventLoopFuture<RedisConnection>,
    _ server: ServerAccount
  ) {
    say(server)
    control.and(feed).assumeIsolated().whenSuccess { control, feed in
      self.links = Links(session: session, control: control, feed: feed, server: server)
      for link in [control, feed] {
        link.closed.assumeIsolated().whenComplete { _ in
          self.ended(session, because: "the connection to Redis closed")
        }
      }
      self.take(.connected(session))
    }
  }

  /// Logs the commands that the server denies, once.
  private func say(_ server: ServerAccount) {
    if let shortcoming = server.shortcoming, shortcoming != saidShortcoming {
      logger.warning(
        "the key store's Redis denies some commands",
        metadata: ["redis": "\(endpoint)", "missing": "\(shortcoming)"])
    }
    saidShortcoming = server.shortcoming
  }

  /// Logs once that keys don't expire, because Redis denies TIME.
  private func sayTimeless(_ position: Result<StoreAnswer<StorePosition>, Replica.ReadFailure>) {
    guard case .success(.found(let position)) = position, position.time == nil, !saidTimeless else { return }
    saidTimeless = true
    logger.warning(
      "Redis denies TIME: keys with an expiry stay admitted after it. Allow +time",
      metadata: ["redis": "\(endpoint)"])
  }

  private func ended(_ session: Replica.ConnectionID, because reason: String) {
    guard links?.session == session else { return }
    disconnect(session)
    take(.disconnected(session, reason: reason))
  }

  private func disconnect(_ session: Replica.ConnectionID) {
    guard let links, links.session == session else { return }
    self.links = nil
    links.control.close()
    links.feed.close()
  }

  private func log(_ note: Replica.Note) {
    switch note {
    case .connected: logger.info("connected to the key store", metadata: ["redis": "\(endpoint)"])
    case .storeAway(let reason):
      logger.warning("key store unreachable", metadata: ["redis": "\(endpoint)", "reason": "\(reason)"])
    case .reading(let buckets, let reason):
      logger.info("reading changed buckets", metadata: ["buckets": "\(buckets)", "reason": "\(reason)"])
    case .bucketRefused(let reason):
      logger.error(
        "bucket rejected: keeping the previous copy and reading it again. If this repeats: key-publisher verify",
        metadata: ["reason": "\(reason)"])
    case .complete(let keys, let version, let epoch, let sealed):
      logger.notice(
        "mirror complete",
        metadata: ["keys": "\(keys)", "version": "\(version)", "epoch": "\(epoch)", "sealed": "\(sealed)"])
    case .resync(let reason):
      logger.warning("mirror resync started", metadata: ["reason": "\(reason)"])
    case .guarded(let keys):
      logger.critical(
        "mass removal held back: these keys stay admitted until key-publisher confirm",
        metadata: ["keys": "\(keys)"])
    case .unfenced(let reason):
      logger.error(
        """
        refusals suspended: primary not confirmed by a majority. Unknown and revoked keys are answered 503; active keys are \
        still admitted
        """,
        metadata: ["reason": "\(reason)"])
    case .fenced: logger.notice("refusals resumed: primary confirmed by a majority")
    case .sourceStale(let reason):
      logger.error(
        """
        refusals suspended: the source mark is too old. Unknown and revoked keys are answered 503; active keys are still \
        admitted
        """,
        metadata: ["reason": "\(reason)"])
    case .sourceRecent: logger.notice("refusals resumed: the source mark is recent again")
    case .sourceMaxAgeLost(let maxAge):
      logger.error(
        """
        the store has lost the maximum age of its source mark: the last known one stays in force on this node. Set it \
        again: key-publisher source --max-age
        """,
        metadata: ["max_age": "\(maxAge)"])
    case .refusalStorm(let unknown, let admitted):
      logger.critical(
        """
        refusal storm: unknown keys are answered 503 until clients send fewer of them. If the store lacks keys, import them; \
        if these keys should be refused: key-publisher confirm-unknown N
        """,
        metadata: ["unknown_keys": "\(unknown)", "admitted_keys": "\(admitted)"])
    case .refusalStormOver: logger.notice("refusal storm has ended: unknown keys are answered 401 again")
    case .guardReleased: logger.notice("removals confirmed by key-publisher confirm")
    case .vanished(let keys, let held, let bucket):
      logger.critical(
        """
        active keys vanished from the store without being revoked: held keys stay admitted. If the store lost them, import \
        your list; if they are meant to be gone: key-publisher confirm
        """,
        metadata: ["keys": "\(keys)", "held": "\(held)", "first_bucket": "\(bucket)"])
    case .revived(let keys):
      logger.critical(
        """
        the store lost changes (restored backup, failover): suspended or revoked keys are admitted again. Run key-publisher \
        sync with your list; if these keys should be active: key-publisher confirm
        """,
        metadata: ["keys": "\(keys)"])
    case .mirrors(let store):
      logger.notice(
        "this store is mirrored from now on", metadata: ["id": "\(store.id)", "name": "\(store.name ?? "none")"])
    case .trouble(let reason):
      logger.error(
        "refusals suspended: unknown and revoked keys are answered 503; known active keys are still admitted",
        metadata: ["reason": "\(reason)"])
    case .readFailed(let reason):
      logger.warning("reading the key store failed; retrying", metadata: ["reason": "\(reason)"])
    }
  }
}
