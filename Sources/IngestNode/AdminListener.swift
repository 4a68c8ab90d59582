// The listener for operators, balancers and Prometheus, on a port of its own. It only reads; there is nothing here that changes
// anything, and nothing that shows a key.

internal import Fleet
internal import Foundation
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import PrometheusText

struct AdminListener {
  let host: String
  let port: Int
  let status: NodeStatus
  let metrics: PrometheusRegistry
  let logger: Logger

  func application() -> some ApplicationProtocol {
    let router = Router()
    // Alive means that this answers; whether the node is of use is readiness.
    router.get("/livez") { _, _ in Self.text("alive\n") }
    router.get("/readyz") { _, _ in
      let report = try await status.report()
      return try Self.json(report, status: report.ready ? .ok : .serviceUnavailable)
    }
    router.get("/status") { _, _ in try Self.json(try await status.report(), status: .ok) }
    router.get("/metrics") { _, _ in
      // Brings the gauges up to date.
      _ = try await status.report()
      return Self.text(metrics.render(), type: PrometheusRegistry.contentType)
    }
    var quiet = logger
    quiet.logLevel = .warning
    return Application(
      router: router, configuration: ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil),
      onServerRunning: { channel in
        logger.notice("listening for operators", metadata: ["address": "\(ListeningAddress(channel))"])
      }, logger: quiet)
  }

  private static func text(_ body: String, type: String = "text/plain; charset=utf-8") -> Response {
    Response(status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: body)))
  }

  private static func json(_ report: NodeReport, status: HTTPResponse.Status) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    let body = try encoder.encode(report)
    var headers: HTTPFields = [.contentType: "application/json"]
    if status != .ok { headers[.retryAfter] = "1" }
    return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
  }
}

/// Where a channel listens, as one would write it.
struct ListeningAddress: CustomStringConvertible {
  let description: String

  init(_ channel: any Channel) {
    guard let address = channel.localAddress, let host = address.ipAddress, let port = address.port else {
      description = "an unknown address"
      return
    }
    description = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }
}
