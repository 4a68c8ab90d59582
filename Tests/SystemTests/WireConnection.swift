// One TCP connection, byte by byte: what no HTTP client would send can be sent, nothing is ever tried a second time behind the test's back,
// and it is seen how the other side ends it. An HTTP client was rejected for that reason: a good one hides a connection that was
// closed under it.

import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import RedisFixture
import Synchronization

/// A connection that sends exactly the given bytes, and keeps all received ones.
final class WireConnection: Sendable {
  /// How the other side ended the connection.
  enum Ending: Sendable, Equatable {
    /// It has said all.
    case closed
    /// It threw away what was under way.
    case broken(String)
  }

  /// What was waited for didn't come.
  struct Missing: Error, CustomStringConvertible {
    let why: String
    /// What came instead.
    let came: [UInt8]
    var description: String { "\(why); what came: \(String(decoding: came, as: UTF8.self).debugDescription)" }
  }

  private let channel: any Channel
  private let ear: NIOLoopBound<Ear>

  private init(channel: any Channel, ear: NIOLoopBound<Ear>) {
    self.channel = channel
    self.ear = ear
  }

  deinit { channel.close(promise: nil) }

  /// - Parameters:
  ///   - address: `host:port`, or a Unix socket's path.
  ///   - source: The address to connect from, with any port.
  ///   - reads: Whether it reads what comes.
  static func connected(
    to address: String, from source: String? = nil, tls: NIOSSLContext? = nil, reads: Bool = true
  ) async throws -> WireConnection {
    let made = Mutex<NIOLoopBound<Ear>?>(nil)
    var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connectTimeout(.seconds(5))
      .channelOption(.autoRead, value: reads)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let tls {
            // No name: by its address a server can't be told which certificate is meant.
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil))
          }
          let ear = Ear(eventLoop: channel.eventLoop)
          made.withLock { $0 = NIOLoopBound(ear, eventLoop: channel.eventLoop) }
          try channel.pipeline.syncOperations.addHandler(ear)
        }
      }
    // The system's own is megabytes, and takes long to be filled.
    if !reads { bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: 4 << 10) }
    if let source { bootstrap = bootstrap.bind(to: try SocketAddress(ipAddress: source, port: 0)) }
    let channel: any Channel
    if address.hasPrefix("/") {
      channel = try await bootstrap.connect(unixDomainSocketPath: address).get()
    } else {
      let parts = address.split(separator: ":")
      guard parts.count == 2, let port = Int(parts[1]) else {
        throw NeverHappened(description: "\(address) is no host:port")
      }
      channel = try await bootstrap.connect(host: String(parts[0]), port: port).get()
    }
    guard let ear = made.withLock({ $0 }) else { throw NeverHappened(description: "\(address) wasn't connected to") }
    return WireConnection(channel: channel, ear: ear)
  }

  /// Sends without waiting; where the connection is gone that shows by its ending.
  func send(_ bytes: some Sequence<UInt8>) { channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil) }

  func send(_ text: String) { send(text.utf8) }

  /// Starts or stops reading the received bytes.
  func reads(_ whether: Bool) async throws { try await channel.setOption(.autoRead, value: whether).get() }

  /// Says that nothing more will be sent, when what was sent is under way.
  func finish() { channel.close(mode: .output, promise: nil) }

  func close() { channel.close(promise: nil) }

  /// Waits for something in what comes.
  /// - Parameter take: Takes it off the bytes; nil while it isn't there.
  /// - Throws: ``Missing`` at the deadline, or as soon as the connection has ended without it.
  func receive<Value: Sendable>(
    _ what: String, within limit: Duration = .seconds(10),
    _ take: @escaping @Sendable (inout ByteBuffer, Ending?) throws -> Value?
  ) async throws -> Value {
    try await channel.eventLoop.flatSubmit { [ear] in
      ear.value.receive(what, within: TimeAmount(limit), take)
    }.get()
  }

  /// The next answer, without those that only say "go on" (1xx).
  func answer(within limit: Duration = .seconds(10)) async throws -> WireAnswer {
    try await receive("an answer", within: limit) { bytes, ending in try WireAnswer.take(from: &bytes, ending) }
  }

  /// Waits until this number of answers has arrived or the connection has ended, but no longer than this. It removes
  /// nothing from the received bytes.
  func hears(answers count: Int, isForHead: Bool = false, within limit: Duration) async throws {
    do {
      try await receive("\(count) answers", within: limit) { bytes, ending in
        var copy = bytes
        return try ending != nil || WireAnswer.takeAll(from: &copy, isForHead: isForHead).count >= count ? () : nil
      }
    } catch is Missing {
      // The caller examines the received bytes itself.
    }
  }

  /// The answers that have come.
  func answersSoFar(isForHead: Bool = false) async throws -> [WireAnswer] {
    try await receive("answers") { bytes, _ in try WireAnswer.takeAll(from: &bytes, isForHead: isForHead) }
  }

  /// Waits until the other side has ended the connection.
  /// - Returns: How, and what came before that.
  func ending(within limit: Duration = .seconds(10)) async throws -> (ending: Ending, rest: [UInt8]) {
    try await receive("the end", within: limit) { bytes, ending in
      ending.map { ($0, bytes.readBytes(length: bytes.readableBytes) ?? []) }
    }
  }

  /// Reads all bytes until the other side closes.
  func everything(within limit: Duration = .seconds(10)) async throws -> String {
    String(decoding: try await ending(within: limit).rest, as: UTF8.self)
  }

  /// The serial number of the certificate that the other side has shown, as hexadecimal digits.
  func serverSerial() async throws -> String {
    try await channel.eventLoop.submit { [channel] in
      let handler = try channel.pipeline.syncOperations.handler(type: NIOSSLClientHandler.self)
      guard let certificate = handler.peerCertificate else {
        throw NeverHappened(description: "no certificate was shown")
      }
      return certificate.serialNumber.map { String(format: "%02x", $0) }.joined()
    }.get()
  }

  /// Keeps the received bytes, and completes the waiters. On the connection's event loop.
  private final class Ear: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let eventLoop: any EventLoop
    private var heard = ByteBuffer()
    private var ending: Ending?
    private var serve: (() -> Void)?

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func receive<Value: Sendable>(
      _ what: String, within limit: TimeAmount,
      _ take: @escaping @Sendable (inout ByteBuffer, Ending?) throws -> Value?
    ) -> EventLoopFuture<Value> {
      let promise = eventLoop.makePromise(of: Value.self)
      let late = eventLoop.assumeIsolated().scheduleTask(in: limit) {
        self.serve = nil
        promise.fail(Missing(why: "\(what) didn't come in time", came: Array(self.heard.readableBytesView)))
      }
      serve = {
        do {
          if let value = try take(&self.heard, self.ending) {
            promise.succeed(value)
          } else if let ending = self.ending {
            promise.fail(
              Missing(why: "no \(what): the connection is \(ending)", came: Array(self.heard.readableBytesView)))
          } else {
            return
          }
        } catch {
          promise.fail(error)
        }
        late.cancel()
        self.serve = nil
      }
      serve?()
      return promise.futureResult
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      var bytes = unwrapInboundIn(data)
      heard.writeBuffer(&bytes)
      serve?()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      end(.broken("\(error)"))
      context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { end(.closed) }

    private func end(_ ending: Ending) {
      if self.ending == nil { self.ending = ending }
      serve?()
    }
  }
}

/// One HTTP answer as it came.
struct WireAnswer: Sendable {
  var status: Int
  /// The field lines, in order.
  var fields: [(name: String, value: String)]
  var body: [UInt8]

  func field(_ name: String) -> String? { fields.first { $0.name.lowercased() == name }?.value }

  /// Whether the connection ends with it.
  var isLast: Bool { field("connection")?.lowercased() == "close" }

  /// The value of a string member of the body, where that is JSON.
  func member(_ name: String) -> String? {
    let object = try? JSONSerialization.jsonObject(with: Data(body)) as? [String: Any]
    return object?[name] as? String
  }

  /// Takes all whole answers off the bytes.
  /// - Parameter isForHead: Whether the first of them has no body, whatever it says of its length.
  static func takeAll(from bytes: inout ByteBuffer, isForHead: Bool) throws -> [WireAnswer] {
    var answers: [WireAnswer] = []
    while let answer = try take(from: &bytes, nil, isForHead: isForHead && answers.isEmpty) { answers.append(answer) }
    return answers
  }

  /// Takes one answer off the bytes; nil while it isn't whole. Interim answers (1xx) are passed over.
  static func take(
    from bytes: inout ByteBuffer, _ ending: WireConnection.Ending?, isForHead: Bool = false
  ) throws -> WireAnswer? {
    while true {
      let view = bytes.readableBytesView
      guard let end = view.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
      let lines = String(decoding: view[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
      let words = lines[0].split(separator: " ", maxSplits: 2)
      guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]) else {
        throw WireConnection.Missing(why: "no status line", came: Array(view))
      }
      var answer = WireAnswer(status: status, fields: [], body: [])
      for line in lines.dropFirst() {
        guard let colon = line.firstIndex(of: ":") else {
          throw WireConnection.Missing(why: "no field line", came: Array(view))
        }
        answer.fields.append(
          (String(line[..<colon]), line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)))
      }
      let bodyStart = end.upperBound - view.startIndex
      if (100..<200).contains(status), status != 101 {
        bytes.moveReaderIndex(forwardBy: bodyStart)
        continue
      }
      guard let length = isForHead ? 0 : answer.field("content-length").flatMap(Int.init) else {
        // Neither nodes nor balancers send chunks here: without a length, it is all until the end.
        guard ending != nil else { return nil }
        answer.body = Array(view.dropFirst(bodyStart))
        bytes.clear()
        return answer
      }
      guard view.count >= bodyStart + length else { return nil }
      answer.body = Array(view.dropFirst(bodyStart).prefix(length))
      bytes.moveReaderIndex(forwardBy: bodyStart + length)
      return answer
    }
  }
}
