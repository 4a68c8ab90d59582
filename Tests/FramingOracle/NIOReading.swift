// Reads the same stream with NIO's decoder, the oracle: another author's parser (llhttp) with another interface.

import HTTPFraming
internal import NIOCore
internal import NIOEmbedded
internal import NIOHTTP1

public struct NIOReading: Sendable {
  public fileprivate(set) var requests: [ReadRequest] = []
  /// What it stopped with.
  public fileprivate(set) var failure: String?

  public init(of stream: [UInt8]) {
    let collector = Collector()
    let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes))
    let channel = EmbeddedChannel(handlers: [decoder, collector])
    defer {
      // What is left over when the channel goes is no concern of the comparison.
      _ = try? channel.finish()
    }
    do {
      try channel.writeInbound(ByteBuffer(bytes: stream))
    } catch {
      collector.failure = collector.failure ?? error
    }
    requests = collector.requests
    failure = collector.failure.map { "\($0)" }
  }
}

private final class Collector: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart

  var requests: [ReadRequest] = []
  var failure: (any Error)?

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      requests.append(
        ReadRequest(
          // NIO calls the one method with a hyphen by the name of its constant.
          method: Array((head.method == .RAW(value: "MSEARCH") ? "M-SEARCH" : head.method.rawValue).utf8),
          target: Array(head.uri.utf8),
          version: head.version == .http1_0 ? .http10 : .http11,
          fields: head.headers.map {
            ReadRequest.Field(name: Array($0.name.utf8), value: Array($0.value.utf8).withoutBlanksAtItsEnd)
          }))
    case .body(let part): requests[requests.count - 1].body += part.readableBytesView
    case .end: requests[requests.count - 1].isWhole = true
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { failure = failure ?? error }
}

extension [UInt8] {
  /// llhttp hands out the blanks behind a value, which RFC 9110 §5.5 doesn't count as part of it.
  fileprivate var withoutBlanksAtItsEnd: [UInt8] {
    var count = count
    while count > 0, self[count - 1] == 0x20 || self[count - 1] == 0x09 { count -= 1 }
    return Array(prefix(count))
  }
}
