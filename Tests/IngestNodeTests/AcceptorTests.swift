// The thread that accepts, with real sockets.

import ClientAddress
import Foundation
import Logging
import NIOCore
import NIOPosix
import RedisFixture
import Synchronization
import Testing

@testable import IngestNode
@testable import Listening

@Suite struct AcceptorTests {
  private let log = RecordedLog()

  /// The connections that an acceptor hands over, in order.
  private struct Harness {
    let acceptor: Acceptor
    let sockets: AsyncStream<CInt>
    let ended: AsyncStream<String>
    var port: Int { Int(acceptor.address.split(separator: ":").last ?? "") ?? 0 }

    init(_ part: DescriptorPlan.Listener, _ logger: Logger, admits: @escaping @Sendable (ArrivingConnection) -> Bool)
      throws
    {
      acceptor = try Acceptor("push", at: "127.0.0.1", port: 0, part, logger: logger)
      let (sockets, socket) = AsyncStream.makeStream(of: CInt.self)
      let (ended, end) = AsyncStream.makeStream(of: String.self)
      (self.sockets, self.ended) = (sockets, ended)
      acceptor.start(
        Acceptor.Handlers(
          admits: admits, receiver: { { _ = socket.yield($0) } },
          ended: { _ = end.yield($0.map { "\($0)" } ?? "stopped") }))
    }

    /// Ends it, and waits until the listening socket is closed.
    func stop() async {
      acceptor.stop()
      for await word in ended {
        #expect(word == "stopped")
        return
      }
    }
  }

  private func connect(to port: Int) throws -> CInt {
    let socket = Foundation.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    var result: CInt = -1
    try SocketAddress(ipAddress: "127.0.0.1", port: port).withSockAddr {
      result = Foundation.connect(socket, $0, socklen_t($1))
    }
    #expect(result == 0)
    return socket
  }

  /// How reading from the socket ends, within ten seconds.
  private func end(of socket: CInt) -> String {
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var byte: UInt8 = 0
    let count = recv(socket, &byte, 1, 0)
    return count == 0 ? "end" : count > 0 ? "data" : String(cString: strerror(errno))
  }

  @Test func `a connection that may begin is handed over, and another is reset`() async throws {
    let isOpen = Atomic(true)
    let harness = try Harness(.init(connections: 10, courtesies: 0, batch: 2), log.logger) { connection in
      #expect(connection.peer.map { "\($0)" } == "127.0.0.1")
      return isOpen.load(ordering: .sequentiallyConsistent)
    }
    var sockets = harness.sockets.makeAsyncIterator()
    let welcome = try connect(to: harness.port)
    let accepted = try #require(await sockets.next())
    var noDelay: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    getsockopt(accepted, CInt(IPPROTO_TCP), TCP_NODELAY, &noDelay, &size)
    #expect(noDelay != 0, "it has the listening socket's options")
    close(accepted)
    #expect(end(of: welcome) == "end")
    isOpen.store(false, ordering: .sequentiallyConsistent)
    let unwelcome = try connect(to: harness.port)
    #expect(end(of: unwelcome) == String(cString: strerror(ECONNRESET)))
    for socket in [welcome, unwelcome] { close(socket) }
    await harness.stop()
  }

  @Test func `no more are open than there are descriptors for, and one that ends makes room for the next`() async throws
  {
    let part = DescriptorPlan.Listener(connections: 2, courtesies: 0, batch: 1)
    let harness = try Harness(part, log.logger) { _ in true }
    var sockets = harness.sockets.makeAsyncIterator()
    var clients: [CInt] = []
    var accepted: [CInt] = []
    for _ in 0..<part.descriptors {
      clients.append(try connect(to: harness.port))
      accepted.append(try #require(await sockets.next()))
    }
    // The kernel takes it. That nobody accepts it shows when its turn comes only after another's end.
    clients.append(try connect(to: harness.port))
    let ended = Mutex(false)
    async let next = { () -> (CInt?, Bool) in
      for await socket in harness.sockets { return (socket, ended.withLock { $0 }) }
      return (nil, false)
    }()
    ended.withLock { $0 = true }
    close(accepted.removeFirst())
    harness.acceptor.connectionEnded()
    let (socket, wasAfterAnEnd) = await next
    #expect(wasAfterAnEnd)
    accepted.append(try #require(socket))
    for socket in clients + accepted { close(socket) }
    await harness.stop()
  }

  @Test func `a stopped acceptor's port is free, and whoever has connected goes on`() async throws {
    let part = DescriptorPlan.Listener(connections: 2, courtesies: 0, batch: 1)
    let harness = try Harness(part, log.logger) { _ in true }
    var sockets = harness.sockets.makeAsyncIterator()
    let client = try connect(to: harness.port)
    let accepted = try #require(await sockets.next())
    await harness.stop()
    var byte: UInt8 = 7
    #expect(write(client, &byte, 1) == 1 && read(accepted, &byte, 1) == 1)
    let second = try Acceptor("push", at: "127.0.0.1", port: harness.port, part, logger: log.logger)
    #expect(second.address == harness.acceptor.address)
    #expect(throws: SocketError.self, "two can't listen at one port") {
      try Acceptor("push", at: "127.0.0.1", port: harness.port, part, logger: log.logger)
    }
    for socket in [client, accepted] { close(socket) }
    second.start(Acceptor.Handlers(admits: { _ in true }, receiver: { { close($0) } }, ended: { _ in }))
    second.stop()
  }

  /// A header of version 2 for a TCP connection from 10.7.7.7.
  private static let block: [UInt8] =
    Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x21, 0x11, 0, 12] + [10, 7, 7, 7, 127, 0, 0, 1, 1, 1, 2, 2]

  @Test(arguments: [
    (Array("PROXY TCP4 10.7.7.7 127.0.0.1 1 2\r\nPOST /".utf8), "10.7.7.7"), (block, "10.7.7.7"),
    (Array("PROXY TCP4 10.7.7.7 127".utf8), nil), (Array(block.dropLast()), nil),
    (Array("POST / HTTP/1.1\r\n".utf8), nil),
    (Array("PROXY UNKNOWN\r\n".utf8), nil), ([], nil),
  ])
  func `a balancer's header is looked at and left where it is`(bytes: [UInt8], client: String?) throws {
    var ends: [CInt] = [-1, -1]
    try #require(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
    defer { for end in ends { close(end) } }
    if !bytes.isEmpty { #expect(write(ends[0], bytes, bytes.count) == bytes.count) }
    let connection = ArrivingConnection(peer: nil, socket: ends[1])
    for _ in 0..<2 { #expect(connection.clientOfProxy().map { "\($0)" } == client) }
    var left = [UInt8](repeating: 0, count: 100)
    #expect(recv(ends[1], &left, left.count, CInt(MSG_DONTWAIT)) == (bytes.isEmpty ? -1 : bytes.count))
    #expect(left.starts(with: bytes))
  }

  @Test(arguments: [EMFILE, ENFILE, ENOBUFS, ENOMEM])
  func `while accepting fails it is tried less and less often`(code: CInt) {
    var pauses = AcceptPause()
    #expect(
      (1...8).map { _ in pauses.after(code).nanoseconds / 1_000_000 } == [50, 100, 200, 400, 800, 1_000, 1_000, 1_000])
    #expect(pauses.after(ECONNABORTED) == .zero, "a client that went away before it was accepted is no reason to wait")
    pauses.reset()
    #expect(pauses.after(code) == .milliseconds(50))
  }
}
