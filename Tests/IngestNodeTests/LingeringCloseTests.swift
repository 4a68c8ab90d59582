// How a server over TLS ends a connection on which the client is still sending, so that the client gets the whole answer: it writes
// everything, waits until the kernel has it, ends its sending side (close_notify, FIN), throws away what still comes, and
// closes when the client has ended too or the time is over. Shown here with a handler of the test's own on NIOSSL alone, because
// it is what the push handler's way of closing rests on.

import Foundation
import NIOCore
import NIOSSL
import RedisFixture
import Synchronization
import Testing

@testable import IngestNode
@testable import Listening

struct LingeringCloseTests {
  /// More than what sockets and NIO hold between two programs at once.
  private static let answerSize = 16 << 20

  private func server(
    _ manner: AnswerAndEnd.Manner, discarding: TimeAmount = .seconds(20), _ observed: AnswerAndEnd.Observed
  ) async throws -> (TLSServer, authority: String, CertificateFolder) {
    let folder = try await CertificateFolder.make()
    let identity = try TLSIdentity(TLSFiles(try await folder.issue("server")))
    let server = try await TLSServer.start(identity, halfClosure: true) {
      AnswerAndEnd(size: Self.answerSize, manner: manner, discarding: discarding, observed: observed)
    }
    return (server, folder.authority, folder)
  }

  @Test(arguments: ["TLSv1_2", "TLSv1_3"])
  func `a client that goes on sending gets the whole answer and a clean end`(version: String) async throws {
    let observed = AnswerAndEnd.Observed()
    let (server, authority, folder) = try await server(.endSendingThenDiscard, observed)
    defer { folder.folder.remove() }
    let client = try await StubbornClient.run(server.port, authority, version, .sendsOnAndOn)
    #expect(client.received == Self.answerSize)
    #expect(client.end == "close_notify")
    // It really was still sending, before and after the end of the answer.
    #expect(client.sentBeforeEnd > 1 << 16)
    #expect(client.sentAfterEnd > 1 << 16)
    try await eventually("the server has seen the client's end") { observed.closed }
    #expect(observed.discarded > 1 << 16)
  }

  @Test func `what still comes is thrown away for a bounded time`() async throws {
    let observed = AnswerAndEnd.Observed()
    let (server, authority, folder) = try await server(.endSendingThenDiscard, discarding: .milliseconds(200), observed)
    defer { folder.folder.remove() }
    let client = try await StubbornClient.run(server.port, authority, "TLSv1_3", .sendsUntilReset)
    #expect(client.received == Self.answerSize)
    #expect(client.end == "close_notify")
    #expect(client.reset)
    try await eventually("the server has closed") { observed.closed }
  }

  @Test func `closed at once, the same client would lose a part of it`() async throws {
    let observed = AnswerAndEnd.Observed()
    let (server, authority, folder) = try await server(.closeAtOnce, observed)
    defer { folder.folder.remove() }
    let client = try await StubbornClient.run(server.port, authority, "TLSv1_3", .sendsOnAndOn)
    // Whether TLS's own end still gets out is a race, and doesn't help.
    #expect(client.received < Self.answerSize)
  }

  @Test func `ended before the kernel has it all, a client that has ended too would lose a part of it`() async throws {
    let observed = AnswerAndEnd.Observed()
    let (server, authority, folder) = try await server(.endSendingAtOnce, observed)
    defer { folder.folder.remove() }
    let client = try await StubbornClient.run(server.port, authority, "TLSv1_3", .endsSending)
    #expect(client.received < Self.answerSize)
  }

  @Test(arguments: [StubbornClient.Manner.endsSending, .endsSendingWithoutNotice])
  fileprivate func `a client that has ended its sending side gets the whole answer`(_ manner: StubbornClient.Manner)
    async throws
  {
    let observed = AnswerAndEnd.Observed()
    let (server, authority, folder) = try await server(.endSendingThenDiscard, observed)
    defer { folder.folder.remove() }
    let client = try await StubbornClient.run(server.port, authority, "TLSv1_3", manner)
    #expect(client.received == Self.answerSize)
    #expect(client.end == "close_notify")
    try await eventually("the server has closed") { observed.closed }
  }
}

/// Answers the first bytes that come, and ends the connection.
private final class AnswerAndEnd: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  enum Manner {
    case endSendingThenDiscard
    /// The same, but without waiting until the kernel has the answer.
    case endSendingAtOnce
    case closeAtOnce
  }

  final class Observed: Sendable {
    private let state = Mutex<(discarded: Int, closed: Bool)>((0, false))
    var discarded: Int { state.withLock { $0.discarded } }
    var closed: Bool { state.withLock { $0.closed } }
    func discard(_ count: Int) { state.withLock { $0.discarded += count } }
    func close() { state.withLock { $0.closed = true } }
  }

  private let size: Int
  private let manner: Manner
  private let discarding: TimeAmount
  private let observed: Observed
  private var answered = false
  private var written = false
  private var inputClosed = false
  private var late: Scheduled<Void>?

  init(size: Int, manner: Manner, discarding: TimeAmount, observed: Observed) {
    self.size = size
    self.manner = manner
    self.discarding = discarding
    self.observed = observed
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !answered else {
      observed.discard(unwrapInboundIn(data).readableBytes)
      return
    }
    answered = true
    let answer = wrapOutboundOut(ByteBuffer(repeating: 0x61, count: size))
    switch manner {
    case .closeAtOnce:
      context.writeAndFlush(answer, promise: nil)
      closeNow(context)
    case .endSendingAtOnce:
      context.writeAndFlush(answer, promise: nil)
      context.close(mode: .output, promise: nil)
    case .endSendingThenDiscard:
      context.writeAndFlush(answer).assumeIsolated().whenSuccess {
        self.written = true
        // End our side only after the write. If it ended earlier, the client's close_notify would close the connection
        // and drop the unwritten bytes.
        if self.inputClosed {
          // Close in the next tick. NIO is in the middle of a write here: a close now would drop our close_notify.
          context.eventLoop.assumeIsolated().execute { context.close(promise: nil) }
        } else {
          context.close(mode: .output, promise: nil)
          self.late = context.eventLoop.assumeIsolated().scheduleTask(in: self.discarding) { self.closeNow(context) }
        }
      }
    }
  }

  /// Closes the socket beneath TLS: `context.close` would first wait for the client's close_notify, for `shutdownTimeout`.
  private func closeNow(_ context: ChannelHandlerContext) {
    do {
      try context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self).close(promise: nil)
    } catch {
      context.close(promise: nil)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event {
      inputClosed = true
      if written { context.close(promise: nil) }
    }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // The client ended its side without close_notify. Its request was whole, so it is answered.
    if error as? NIOSSLError == .uncleanShutdown { return }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    late?.cancel()
    observed.close()
    context.fireChannelInactive()
  }
}

/// A client on OpenSSL that reads and writes at the same time, which HTTP clients seldom do.
private struct StubbornClient: Decodable {
  enum Manner: String {
    /// Sends until the answer has ended, then a little more, then ends too.
    case sendsOnAndOn
    case sendsUntilReset
    /// By close_notify, right after the request.
    case endsSending
    /// By FIN alone.
    case endsSendingWithoutNotice
  }

  var received: Int
  var sentBeforeEnd: Int
  var sentAfterEnd: Int
  /// How the answer ended: "close_notify", "end of file" without it, or an error.
  var end: String
  /// Whether sending failed in the end.
  var reset: Bool

  static func run(_ port: Int, _ authority: String, _ version: String, _ manner: Manner) async throws -> StubbornClient
  {
    try await python(script, ["\(port)", authority, version, manner.rawValue], printing: StubbornClient.self)
  }

  // Through memory and not `wrap_socket`: OpenSSL's own end of sending has no other way into Python.
  private static let script = """
    import json, select, socket, ssl, sys, time
    port, authority, version, manner = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
    raw = socket.create_connection(('127.0.0.1', int(port)), timeout=10)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    while True:
        try: tls.do_handshake(); break
        except ssl.SSLWantReadError:
            raw.sendall(outgoing.read()); incoming.write(raw.recv(1 << 16))
    tls.write(b'request')
    raw.sendall(outgoing.read())
    if manner == 'endsSending':
        try: tls.unwrap()
        except ssl.SSLError: pass
        raw.sendall(outgoing.read())
    elif manner == 'endsSendingWithoutNotice':
        raw.shutdown(socket.SHUT_WR)

    sends = manner.startswith('sends')
    chunk, waiting = bytes(1 << 14), b''
    received = before = after = 0
    end, reset = None, False
    deadline = time.monotonic() + 15
    raw.setblocking(False)
    def done():
        if end is None: return False
        return not sends or reset or (manner == 'sendsOnAndOn' and after > 1 << 20)
    while not done() and time.monotonic() < deadline:
        writable = sends and not reset
        ready = select.select([raw] if end is None else [], [raw] if writable else [], [], 1)
        if ready[0]:
            try: data = raw.recv(1 << 16)
            except OSError as e: data, end, reset = None, e.__class__.__name__, True
            if data == b'': incoming.write_eof()
            elif data: incoming.write(data)
            while data is not None:
                try: part = tls.read(1 << 16)
                except ssl.SSLWantReadError: break
                except ssl.SSLZeroReturnError: end = 'close_notify'; break
                except ssl.SSLError as e: end = str(e); break
                if not part: end = 'close_notify'; break
                received += len(part)
        if ready[1]:
            if not waiting: tls.write(chunk); waiting = outgoing.read()
            try: count = raw.send(waiting)
            except OSError: reset = True; continue
            waiting = waiting[count:]
            if end is None: before += count
            else: after += count
    print(json.dumps(dict(
        received=received, sentBeforeEnd=before, sentAfterEnd=after, end=end or 'nothing', reset=reset)))
    """
}
