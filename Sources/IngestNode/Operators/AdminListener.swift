// The listener for operators, load balancers and Prometheus, on a separate port. It is read-only: no request changes
// anything, and no answer contains a key.

internal import Fleet
internal import Hummingbird
internal import HummingbirdCore
internal import Listening
internal import Logging
internal import NIOCore
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
  var deadlines = HTTPDeadlines()
  let logger: Logger
  /// Called with the address once the listener is open.
  var listening: @Sendable (String) -> Void = { _ in }
  let routes: AdminRoutes

  /// Bytes of one read from a connection. A read is smaller than a usual request: a scrape by Prometheus takes three
  /// reads. ``HTTPListener/Configuration/readSize`` has the reason.
  private static let read = 128

  /// Charged to the client for each connection. With a quarter of a second in each second, a client may begin 250
  /// connections a second.
  private static let connectionCost = Duration.milliseconds(1)

  /// Answers requests until the node ends.
  /// - Throws: The error that kept it from listening, or ended it.
  func run() async throws {
    var configuration = HTTPListener.Configuration(
      name: "admin", purpose: "operators", option: "--admin", host: host, port: port, part: part, readSize: Self.read,
      connectionCost: Self.connectionCost)
    configuration.deadlines = deadlines
    var warnings = logger
    warnings.logLevel = .warning
    try await HTTPListener(
      configuration, group: group, logger: logger, listening: listening, responder: routes.responder(logger: warnings)
    ).run()
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
      response.headers[.date] = HTTPDate.now()
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
}
