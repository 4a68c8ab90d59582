// The listener for operators, load balancers and Prometheus, on a separate port. It is read-only: no request changes
// anything, and no answer contains a key.
//
// Hummingbird handles HTTP and routes requests, behind our own listener, as for pushes. Hummingbird's own server has no
// limit on the number or the age of connections. It waits for ever for a client that it answered 400, and ends when a
// connection can't be accepted.

internal import ClientAddress
internal import Fleet
internal import Foundation
internal import Hummingbird
internal import HummingbirdCore
internal import KeyReplica
internal import KeyStore
internal import Logging
internal import NIOCore
internal import NIOExtras
internal import NIOPosix
internal import PrometheusText
internal import ServiceLifecycle

struct AdminListener: Service {
  let host: String
  let port: Int
  let group: MultiThreadedEventLoopGroup
  /// The listener's share of descriptors. If it is used up, a new connection replaces the oldest one of the client with
  /// the most connections.
  let part: DescriptorPlan.Listener
  var deadlines = AdminDeadlines()
  let logger: Logger
  /// Called with the address once the listener is open.
  var listening: @Sendable (String) -> Void = { _ in }
  let routes: AdminRoutes

  /// Bytes of one read from a connection. This limits the requests that a client sends ahead: all requests of a read
  /// are parsed at once, and the next read waits for their answers. Parsed requests take many times the memory. NIO
  /// also looks at no socket until all of them are answered, because answers are tasks of the event loop. So a read is
  /// smaller than a usual request: a scrape by Prometheus takes three reads.
  private static let read = 128

  /// Charged to the client for each connection. With a quarter of a second in each second, a client may begin 250
  /// connections a second.
  private static let connectionCost = Duration.milliseconds(1)

  /// Answers requests until the node ends.
  /// - Throws: The error that kept it from listening, or ended it.
  func run() async throws {
    var warnings = logger
    warnings.logLevel = .warning
    let quiet = warnings
    let http = HTTP1Channel(
      responder: routes.responder(logger: quiet),
      configuration: HTTP1Channel.Configuration(
        httpDecoderConfiguration: .init(
          maxHeaderFieldSize: 8 << 10, maxHeaderListSize: 16 << 10, maxHeaderFieldCount: 100)
      ))
    let quiescing = ServerQuiescingHelper(group: group)
    let connections = ConnectionLimiter(limit: part.connections, courtesies: 0)
    let rate = ConnectionRate()
    let (part, deadlines, logger) = (part, deadlines, logger)
    let log = ConnectionLog("admin", logger: logger)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 4096)
      .serverChannelOption(.maxMessagesPerRead, value: UInt(part.batch))
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AcceptGate("admin", part, logger: logger))
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.maxMessagesPerRead, value: 1)
      .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.read))
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        let peer = channel.remoteAddress?.ipAddress
        let address = peer.flatMap { IPAddress(text: Array($0.utf8).span.bytes) }
        // Beginning a connection costs more than answering its request. One client's connections mustn't use the time
        // that other clients need.
        if let address, !rate.admit(address, costing: Self.connectionCost, at: .recent) {
          log.note(.tooMany, peer: peer)
          channel.reset()
          return channel.eventLoop.makeSucceededVoidFuture()
        }
        let place = connections.enter(from: address) {
          log.note(.evicted, peer: peer)
          channel.eventLoop.execute { channel.reset() }
        }
        guard let place else {
          log.note(.tooMany, peer: peer)
          channel.reset()
          return channel.eventLoop.makeSucceededVoidFuture()
        }
        channel.closeFuture.assumeIsolated().whenComplete { _ in place.giveBack() }
        do {
          try channel.pipeline.syncOperations.addHandler(AdminDeadlineHandler(deadlines) { place.expose() })
        } catch {
          return channel.eventLoop.makeFailedFuture(error)
        }
        return http.setup(channel: channel, logger: quiet).map { connection in
          // The task ends with the connection.
          Task { await http.handle(value: connection, logger: quiet) }
        }
      }
    let channel = try await CannotListen.explain("--admin", host: host, port: port) {
      try await bootstrap.bind(host: host, port: port).get()
    }
    let address = ListeningAddress(channel).description
    logger.notice("listening for operators", metadata: ["address": "\(address)"])
    listening(address)

    // Requests in progress are still answered; each connection has its deadlines.
    try await ListenerLifetime.wait(for: channel, endedBy: quiescing, purpose: "operators")
  }
}

/// The paths for operators and their answers.
struct AdminRoutes: Sendable {
  let report: @Sendable () async throws -> NodeReport
  let metrics: PrometheusRegistry

  fileprivate func responder(logger: Logger) -> HTTPChannelHandler.Responder {
    let responder = router().buildResponder()
    return { request, writer, channel in
      let context = BasicRequestContext(source: ApplicationRequestContextSource(channel: channel, logger: logger))
      var response: Response
      do {
        response = try await responder.respond(to: request, context: context)
      } catch {
        logger.warning("admin request failed", metadata: ["path": "\(request.uri.path)", "reason": "\(error)"])
        response = Response(status: .internalServerError)
      }
      response.headers[.date] = Self.date()
      try await writer.write(response: response.head, body: response.body)
    }
  }

  private func router() -> Router<BasicRequestContext> {
    let router = Router()
    // An answer at all means "alive". Whether the node is useful is shown by /readyz.
    router.get("/livez") { _, _ in Self.text("alive\n") }
    router.get("/readyz") { _, _ in
      let report = try await report()
      return try Self.json(report, status: report.ready ? .ok : .serviceUnavailable)
    }
    router.get("/status") { _, _ in try Self.json(try await report(), status: .ok) }
    router.get("/metrics") { _, _ in
      // Updates the gauges.
      _ = try await report()
      return Self.text(metrics.render(), type: PrometheusRegistry.contentType)
    }
    return router
  }

  private static func text(_ body: String, type: String = "text/plain; charset=utf-8") -> Response {
    Response(status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: body)))
  }

  private static func json(_ report: NodeReport, status: HTTPResponse.Status) throws -> Response {
    let body = try report.json(pretty: true)
    var headers: HTTPFields = [.contentType: "application/json"]
    if status != .ok { headers[.retryAfter] = "1" }
    return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
  }

  /// The date in the format of RFC 9110 §5.6.7. Rejected: a formatter. The names of days and months are English in
  /// every locale.
  private static func date() -> String {
    var seconds = time(nil)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + "\(number)" }
    return """
      \(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1_900) \
      \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT
      """
  }
}
