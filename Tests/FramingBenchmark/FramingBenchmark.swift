// What reading a request costs, ours and NIO's decoder in one run: `swift run -c release framing-benchmark`.
//
// The request is a push as clients send it: ten header lines, a body of 1 KB. Ours is read in a loop as a handler would
// drive it: the head with five lookups, the body, the answer, the response's bytes. NIO's decoder runs in an
// EmbeddedChannel, whose own cost, that of passing three events to a handler that does nothing, is in its figure; it
// writes no response.

import HTTPFraming
import NIOCore
import NIOEmbedded
import NIOHTTP1

@main
struct FramingBenchmark {
  static let rounds = 5
  static let requests = 200_000

  static func main() throws {
    let request = Self.request
    print("one request: \(request.count) bytes; ns a request, best and worst of \(rounds) rounds")
    report("HTTPFraming", rounds: rounds) { ours(request) }
    report("HTTPFraming, head only", rounds: rounds) { ours(headOnly) }
    try report("NIO's decoder", rounds: rounds) { try nios(request) }
  }

  static func report(_ name: String, rounds: Int, _ run: () throws -> Void) rethrows {
    var figures: [Int] = []
    for _ in 0..<rounds {
      let duration = try ContinuousClock().measure { try run() }
      let (seconds, attoseconds) = duration.components
      figures.append((Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)) / requests)
    }
    print("\(name): \(figures.min()!)–\(figures.max()!)")
  }

  static let head =
    "POST /v1/batch/production?api_key=0123456789abcdef HTTP/1.1\r\n"
    + "Host: ingest.example.com\r\nUser-Agent: libhoney-go/1.20.0\r\n"
    + "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    + "X-Honeycomb-Team: 0123456789abcdef0123456789abcdef\r\n"
    + "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nConnection: keep-alive\r\n"

  static let request = Array("\(head)Content-Length: 1024\r\n\r\n".utf8) + [UInt8](repeating: 0x61, count: 1024)
  static let headOnly = Array("\(head)Content-Length: 0\r\n\r\n".utf8)

  static func ours(_ request: [UInt8]) {
    var connection = RequestConnection(limits: RequestLimits(requests: .max))
    let accepted = Response(status: 202, body: Array(#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#.utf8))
    var output = ByteBufferAllocator().buffer(capacity: 512)
    var found = 0
    var bodyBytes = 0
    for _ in 0..<requests {
      var consumed = 0
      var answered = false
      var current: RequestNumber?
      while !answered {
        let bytes = request.span.bytes.extracting(consumed...)
        let step = connection.next(bytes)
        consumed += step.length
        switch step.action {
        case .head(let number, _):
          current = number
          found += connection.head.first("content-type", in: bytes)?.count ?? 0
          found += connection.head.first("content-encoding", in: bytes)?.count ?? 0
          found += connection.head.first("traceparent", in: bytes)?.count ?? 0
          found += connection.head.first("authorization", in: bytes)?.count ?? 0
          found += connection.head.first("x-honeycomb-team", in: bytes)?.count ?? 0
        case .body: bodyBytes += step.length
        case .end:
          guard let number = current, let framing = connection.answer(number) else { fatalError("no answer") }
          output.clear()
          output.writeWithOutputRawSpan(minimumWritableBytes: accepted.capacity()) { accepted.write(framing, to: &$0) }
          answered = true
        case .skip, .read, .writeContinue, .wait, .refuse, .closeOutput, .close:
          fatalError("the request of this benchmark is whole and valid, but: \(step)")
        }
      }
    }
    guard found > 0, bodyBytes + requests > 0 else { fatalError("nothing was read") }
  }

  static func nios(_ request: [UInt8]) throws {
    let counter = PartCounter()
    let channel = EmbeddedChannel(handlers: [ByteToMessageHandler(HTTPRequestDecoder()), counter])
    let buffer = ByteBuffer(bytes: request)
    for _ in 0..<requests { try channel.writeInbound(buffer) }
    guard counter.requests == requests else { fatalError("NIO read \(counter.requests) requests") }
    _ = try channel.finish()
  }
}

private final class PartCounter: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  var requests = 0

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .end = unwrapInboundIn(data) { requests += 1 }
  }
}
