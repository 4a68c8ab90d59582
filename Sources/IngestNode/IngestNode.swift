// Creates the node's services and runs them. Services end in the reverse order of their start: first pushes, then the
// operators' listener, then the heartbeat. The mirror ends last, because answers may still wait for it.

public import ClientAddress
internal import Fleet
internal import FreedMemory
public import IngestQueue
public import IngestSpool
public import KeyReplica
internal import KeyStore
public import Listening
public import Logging
internal import NIOCore
internal import NIOPosix
public import PrometheusText
public import RedisClient
internal import ServiceLifecycle
internal import UnixSignals

/// One ingest node.
public struct IngestNode: Sendable {
  /// The settings of a node.
  public struct Configuration: Sendable {
    public var name: String
    public var build: String
    /// The Redis of the keys and of the fleet's reports.
    public var redis: RedisEndpoint
    /// All shards of the queue; at least one.
    public var queue: [QueueShard]
    public var namespace: Namespace
    public var listenHost: String
    /// 0 lets the system choose a port.
    public var listenPort: Int
    public var adminHost: String
    public var adminPort: Int
    /// Number of event loops for pushes.
    public var threads: Int
    public var front = ListenerLimits()
    /// The push listener's certificate; nil if load balancers terminate TLS.
    public var tls: TLSFiles?
    /// The address of HAProxy's agent-check; nil for none.
    public var agentCheck: (host: String, port: Int)?
    /// Proxies trusted to set the client address.
    public var trustedProxies = TrustedProxies.none
    /// Whether each connection is from one of these proxies and begins with a header of the PROXY protocol.
    public var expectsProxyHeader = false
    public var replica = Replica.Limits()
    /// Size limits of each shard of the queue.
    public var queueLimits = QueueLimits()
    /// Minimum queue durability. With less, the node doesn't start; a running node answers 503.
    public var requiredDurability = DurabilityRequirement.none
    /// The name of the key store to mirror; nil for any name.
    public var store: String?
    /// The folder in which the mirror is saved for the next start; nil for a cold start each time.
    public var stateFolder: String?
    /// The folder for payloads that arrive while Redis is unreachable; nil to answer them 503.
    public var spoolFolder: String?
    public var spool = SpoolLimits()

    public init(
      name: String, build: String, redis: RedisEndpoint, queue: [QueueShard], namespace: Namespace, listenHost: String,
      listenPort: Int, adminHost: String, adminPort: Int, threads: Int
    ) {
      precondition(!queue.isEmpty, "a queue has at least one shard")
      self.name = name
      self.build = build
      self.redis = redis
      self.queue = queue
      self.namespace = namespace
      self.listenHost = listenHost
      self.listenPort = listenPort
      self.adminHost = adminHost
      self.adminPort = adminPort
      self.threads = threads
    }
  }

  private let configuration: Configuration
  private let metrics: PrometheusRegistry
  private let logger: Logger

  /// - Parameter metrics: The registry that the process's metrics were bootstrapped with.
  public init(_ configuration: Configuration, metrics: PrometheusRegistry, logger: Logger) {
    self.configuration = configuration
    self.metrics = metrics
    self.logger = logger
  }

  /// Runs until the process gets SIGTERM or SIGINT and all work in progress is done.
  /// - Throws: The error that kept the node from starting, or ended it.
  public func run() async throws {
    let pushLoops = MultiThreadedEventLoopGroup(numberOfThreads: configuration.threads)
    // A separate loop, so that a resync doesn't delay pushes.
    let mirrorLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    // A separate loop, so that operators and load balancers are answered however busy the other loops are.
    let adminLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let plan = try descriptorPlan()
    let counting = NIOThreadPool(numberOfThreads: max(1, configuration.threads / 2))
    counting.start()
    let source = "\(configuration.redis), namespace \(configuration.namespace)"
    let stateFile = try configuration.stateFolder.map { try StateFile(folder: $0) }
    let image = stateFile.flatMap { StateKeeper.restore($0, source: source, logger: logger) }
    if image?.memory == nil, configuration.store == nil {
      logger.warning(
        "no store is known: this node will trust the first key store that it finds. To rule out a wrong Redis set --store",
        metadata: ["redis": "\(configuration.redis)"])
    }
    let replica = ReplicaDriver(
      endpoint: configuration.redis, layout: StoreLayout(namespace: configuration.namespace),
      limits: configuration.replica, restoring: image, store: configuration.store,
      name: "\(configuration.name)-mirror", on: mirrorLoop.next(), logger: logger)
    let spool = try configuration.spoolFolder.map {
      try Spool(folder: $0, limits: configuration.spool, logger: logger)
    }
    let front = configuration.front
    let rates = front.accountRate.map { AccountRates(perSecond: $0, status: front.tooFastStatus) }
    let watched = shards(named: "watch", on: mirrorLoop.next())
    let watch = QueueWatch(
      shards: watched, limits: configuration.queueLimits, requirement: configuration.requiredDurability, logger: logger)
    let links = pushLoops.makeIterator().map { loop in
      let shards = shards(named: "push", on: loop)
      let producer = QueueProducer(shards: shards, watch: watch)
      let gate = PushHandler(
        replica: replica, producer: producer, spool: spool, node: configuration.name, rates: rates, logger: logger)
      return QueueLink(clients: shards.map(\.client), gate: gate)
    }
    let counters = AnswerCounters(Dialects.all)
    let identity = try configuration.tls.map { try TLSIdentity($0) }
    let stopping = StopFlag()
    let (registration, fatal) = (Registration(), FatalError())
    let connections = ConnectionLimiter(
      limit: plan.pushes.connections,
      limitByAddress: front.connectionsPerAddress ?? max(1, plan.pushes.connections / 4),
      courtesies: plan.pushes.courtesies)
    let status = NodeStatus(
      name: configuration.name, build: configuration.build,
      listen: "\(configuration.listenHost):\(configuration.listenPort)", replica: replica, queues: links,
      watch: watch, spool: spool, counters: counters, connections: connections, descriptorLimit: plan.limit,
      stopping: stopping, registration: registration, fatal: fatal)
    let pushes = PushListener(
      host: configuration.listenHost, port: configuration.listenPort, group: pushLoops, gates: links.map(\.gate),
      shared: ListenerContext(
        limits: front.requestLimits, deadlines: front.deadlines, dialects: Dialects.all, counters: counters,
        stopping: stopping, trusted: configuration.trustedProxies, batches: BatchCounter(threads: counting)),
      connections: connections, part: plan.pushes,
      bytesPerLoop: .init(total: front.bytesInHand / configuration.threads, body: front.bodyBytes),
      identity: identity, expectsProxyHeader: configuration.expectsProxyHeader, logger: logger,
      grace: TimeAmount(front.grace), stopDeadline: TimeAmount(front.stopDeadline),
      listening: { status.listens(at: $0) })
    let admin = AdminListener(
      host: configuration.adminHost, port: configuration.adminPort, group: adminLoop, part: plan.admin, logger: logger,
      routes: AdminRoutes(report: { try await status.report() }, metrics: metrics))
    let fleet = FleetLayout(namespace: configuration.namespace)
    let reporting = RedisClient(
      endpoint: configuration.redis, options: RedisOptions(name: "\(configuration.name)-report"), routedBy: fleet.slot,
      on: mirrorLoop.next(), logger: logger)
    let heartbeat = Heartbeat(
      FleetDirectory(client: reporting, layout: fleet),
      registration: registration, logger: logger
    ) { try await status.report() }

    var services: [any Service] = [MirrorService(replica: replica), QueueWatchService(watch: watch)]
    if let stateFile {
      services.append(StateKeeper(file: stateFile, source: source, replica: replica, logger: logger))
    }
    if let identity { services.append(CertificateKeeper(identity, logger: logger)) }
    services += [heartbeat, admin, FreedMemory(logger: logger)]
    if let (host, port) = configuration.agentCheck, let part = plan.agentCheck {
      services.append(
        AgentCheck(host: host, port: port, group: adminLoop, part: part, logger: logger, listening: { _ in }) {
          await status.agentState()
        })
    }
    // Separate connections, so that new payloads don't wait behind spooled ones.
    let drained = spool == nil ? [] : shards(named: "spool", on: mirrorLoop.next())
    if let spool {
      services.append(
        SpoolKeeper(
          spool: spool, producer: QueueProducer(shards: drained, watch: watch, areAcknowledged: true),
          stopping: stopping,
          stopTime: front.grace + front.stopDeadline, logger: logger))
    }
    services.append(pushes)
    let group = ServiceGroup(
      configuration: .init(
        services: fatal.noting(services).map { .init(service: $0) },
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
    for client in links.flatMap(\.clients) + (watched + drained).map(\.client) { try await client.shutDown().get() }
    try await reporting.shutDown().get()
    try await counting.shutdownGracefully()
    try await pushLoops.shutdownGracefully()
    try await mirrorLoop.shutdownGracefully()
    try await adminLoop.shutdownGracefully()
    logger.notice("ended")
  }

  /// Divides the descriptors that the process may open, after the share of its event loops.
  /// - Throws: If there are too few.
  private func descriptorPlan() throws(TooFewDescriptors) -> DescriptorPlan {
    let (threads, shards) = (configuration.threads, configuration.queue.count)
    let wanted = configuration.front.connections
    let plan = try DescriptorPlan(
      limit: DescriptorPlan.currentLimit, wanted: wanted,
      needs: DescriptorPlan.Needs(
        // Standard streams; three for each event loop; some that the process inherited.
        open: DescriptorPlan.openDescriptors(assumed: 3 + 3 * (threads + 2) + 8),
        // For each shard: one for each loop's pushes, one for the watch, one for the spool. Three more: the mirror, its
        // feed, and reports.
        redisConnections: (threads + 1 + (configuration.spoolFolder == nil ? 0 : 1)) * shards + 3,
        hasAgentCheck: configuration.agentCheck != nil, hasSpool: configuration.spoolFolder != nil))
    if plan.pushes.connections < wanted {
      logger.warning(
        "--max-connections lowered: raise the descriptor limit (ulimit -n; LimitNOFILE in systemd)",
        metadata: [
          "connections": "\(plan.pushes.connections)", "max_connections": "\(wanted)",
          "descriptor_limit": "\(plan.limit)", "reserved_descriptors": "\(plan.keptBack)",
        ])
    }
    return plan
  }

  /// All shards of the queue, each with its own connection.
  private func shards(named purpose: String, on loop: any EventLoop) -> [QueueProducer.Shard] {
    var options = RedisOptions(name: "\(configuration.name)-\(purpose)")
    options.saysDenied = purpose == "watch"
    return configuration.queue.map { shard in
      QueueProducer.Shard(
        client: shard.client(options: options, on: loop, logger: logger),
        layout: shard.layout)
    }
  }
}

/// Watches the queue while the node runs, and ends the node if Redis's durability is too low at the start.
private struct QueueWatchService: Service {
  let watch: QueueWatch

  func run() async throws {
    try await withTaskCancellationHandler {
      try await withGracefulShutdownHandler {
        try await watch.start().get()
      } onGracefulShutdown: {
        watch.stop()
      }
    } onCancel: {
      watch.stop()
    }
  }
}

/// Keeps the mirror up to date while the node runs.
private struct MirrorService: Service {
  let replica: ReplicaDriver

  func run() async throws {
    replica.start()
    try await gracefulShutdown()
    replica.stop()
  }
}
