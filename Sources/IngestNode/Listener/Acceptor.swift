// The thread that accepts clients' connections, and resets those that may not begin.
//
// The kernel returns connections in the order of their arrival. So accepting must be quick, or all clients' new
// connections wait behind those of one client that opens thousands. An event loop never accepts quickly, because it
// accepts only between two passes over thousands of sockets. On an event loop a connection that is only reset also
// costs as much as one that is served: NIO creates a channel and several tasks for it, and an event loop that always
// has tasks looks at no socket. On this thread a reset takes three system calls, a tenth of the client's cost.
//
// This thread also limits connections by descriptors: while the maximum is open, it accepts none.
//
// Rejected: NIO's server channel on a separate event loop. It accepts quickly, but also passes on the connections that
// are only reset.

internal import ClientAddress
internal import Foundation
internal import Listening
internal import Logging
internal import NIOCore
internal import Synchronization

/// One listening socket and its thread.
final class Acceptor: Sendable {
  /// The functions that decide on a new connection and take it over.
  struct Handlers: Sendable {
    /// Whether a connection may begin. It is reset otherwise.
    var admits: @Sendable (ArrivingConnection) -> Bool
    /// Called on the thread. Returns the function that takes over a connection's socket. Call
    /// ``Acceptor/connectionEnded()`` when that socket is closed.
    var receiver: @Sendable () -> (CInt) -> Void
    /// Called once, when the listening socket is closed: with nil after ``Acceptor/stop()``.
    var ended: @Sendable (SocketError?) -> Void
  }

  /// The address that the socket listens at, as text.
  let address: String
  private let name: String
  private let socket: CInt
  private let wakeUp: WakeUp
  private let capacity: Int
  private let batch: Int
  private let failures: AcceptFailures
  /// Connections that were accepted and aren't closed yet.
  private let open = Atomic(0)
  private let waitsForRoom = Atomic(false)
  private let isStopping = Atomic(false)

  /// The maximum that Linux allows by default. After a restart all clients connect at once. A client that exceeds the
  /// backlog tries again after a second.
  private static let backlog: CInt = 4096

  /// Begins to listen.
  /// - Parameters:
  ///   - name: The listener's name, for the log and the metrics.
  ///   - part: How many connections may be open, and how many are accepted in one batch.
  /// - Throws: The reason why the socket can't listen.
  init(_ name: String, at host: String, port: Int, _ part: DescriptorPlan.Listener, logger: Logger) throws {
    self.name = name
    capacity = part.descriptors
    batch = part.batch
    failures = AcceptFailures(of: name, logger: logger)
    wakeUp = try WakeUp()
    socket = try Self.listen(at: SocketAddress.makeAddressResolvingHost(host, port: port))
    address = Self.address(of: socket)
  }

  /// Begins to accept. Call it once.
  func start(_ handlers: Handlers) {
    let thread = Thread { self.run(handlers) }
    thread.name = "accept-\(name)"
    thread.start()
  }

  /// Closes the listening socket. Open connections continue.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
    wakeUp.signal()
  }

  /// Call it when a connection that was taken over is closed.
  func connectionEnded() {
    open.subtract(1, ordering: .sequentiallyConsistent)
    if waitsForRoom.exchange(false, ordering: .sequentiallyConsistent) { wakeUp.signal() }
  }

  // MARK: On its thread

  private func run(_ handlers: Handlers) {
    let receive = handlers.receiver()
    var pauses = AcceptPause()
    var pause = TimeAmount.zero
    while !isStopping.load(ordering: .relaxed) {
      let hasRoom = hasRoom
      wait(
        forConnections: hasRoom && pause == .zero, atMost: pause == .zero ? -1 : CInt(pause.nanoseconds / 1_000_000))
      guard hasRoom else { continue }
      do throws(SocketError) {
        try acceptBatch(handlers.admits, receive)
        pauses.reset()
        pause = .zero
      } catch {
        failures.note(error)
        if error.isLasting { return end(handlers, error) }
        pause = pauses.after(error.code)
      }
    }
    end(handlers, nil)
  }

  private func end(_ handlers: Handlers, _ error: SocketError?) {
    close(socket)
    handlers.ended(error)
  }

  private var hasRoom: Bool {
    if isBelowCapacity { return true }
    waitsForRoom.store(true, ordering: .sequentiallyConsistent)
    // A connection that ended before this store has sent no wake-up.
    return isBelowCapacity
  }

  private var isBelowCapacity: Bool { open.load(ordering: .sequentiallyConsistent) + batch <= capacity }

  private func wait(forConnections: Bool, atMost milliseconds: CInt) {
    var sources = [
      pollfd(fd: wakeUp.reading, events: Int16(POLLIN), revents: 0),
      pollfd(fd: socket, events: forConnections ? Int16(POLLIN) : 0, revents: 0),
    ]
    // If a signal interrupts the call, the caller's loop repeats it.
    poll(&sources, 2, milliseconds)
    if sources[0].revents != 0 { wakeUp.clear() }
  }

  private func acceptBatch(_ admits: (ArrivingConnection) -> Bool, _ receive: (CInt) -> Void) throws(SocketError) {
    for _ in 0..<batch {
      guard let connection = try accept() else { return }
      if admits(connection) {
        open.add(1, ordering: .sequentiallyConsistent)
        receive(connection.socket)
      } else {
        // Closed with a reset, so that the kernel keeps no state of the connection.
        var now = linger(l_onoff: 1, l_linger: 0)
        setsockopt(connection.socket, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        close(connection.socket)
      }
    }
  }

  /// - Returns: nil if no connection waits.
  private func accept() throws(SocketError) -> ArrivingConnection? {
    while true {
      var storage = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let (connection, code) = withUnsafeMutableBytes(of: &storage) { bytes in
        let address = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress
        let connection = Foundation.accept(socket, address, &length)
        return (connection, errno)
      }
      if connection >= 0 { return ArrivingConnection(peer: IPAddress(storage), socket: connection) }
      if code == EINTR { continue }
      if code == EAGAIN || code == EWOULDBLOCK { return nil }
      throw SocketError("accept", code)
    }
  }

  // MARK: The socket

  private static func listen(at address: SocketAddress) throws -> CInt {
    let stream: CInt
    #if canImport(Glibc)
      stream = CInt(SOCK_STREAM.rawValue)
    #else
      stream = SOCK_STREAM
    #endif
    let socket = Foundation.socket(CInt(address.protocol.rawValue), stream, 0)
    guard socket >= 0 else { throw SocketError("socket", errno) }
    do {
      try setNonBlocking(socket)
      // Accepted connections inherit all options but the first.
      try set(SOL_SOCKET, SO_REUSEADDR, 1, of: socket)
      try set(CInt(IPPROTO_TCP), TCP_NODELAY, 1, of: socket)
      try set(SOL_SOCKET, SO_SNDBUF, CInt(BufferSizes.kernelUnsent), of: socket)
      let bound = address.withSockAddr { Foundation.bind(socket, $0, socklen_t($1)) }
      guard bound == 0 else { throw SocketError("bind to \(address)", errno) }
      guard Foundation.listen(socket, backlog) == 0 else { throw SocketError("listen at \(address)", errno) }
      return socket
    } catch {
      close(socket)
      throw error
    }
  }

  private static func set(_ level: CInt, _ option: CInt, _ value: CInt, of socket: CInt) throws(SocketError) {
    var value = value
    guard setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) == 0 else {
      throw SocketError("setsockopt \(option)", errno)
    }
  }

  fileprivate static func setNonBlocking(_ descriptor: CInt) throws(SocketError) {
    let flags = fcntl(descriptor, F_GETFL)
    guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0,
      fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
    else { throw SocketError("fcntl", errno) }
  }

  private static func address(of socket: CInt) -> String {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let status = withUnsafeMutableBytes(of: &storage) { bytes in
      getsockname(socket, bytes.assumingMemoryBound(to: sockaddr.self).baseAddress, &length)
    }
    guard status == 0, let address = IPAddress(storage) else { return "an unknown address" }
    let port = withUnsafeBytes(of: storage) { $0.loadUnaligned(fromByteOffset: 2, as: UInt16.self).bigEndian }
    return ListeningAddress(host: "\(address)", port: Int(port)).description
  }
}

extension IPAddress {
  /// nil for another address family.
  fileprivate init?(_ storage: sockaddr_storage) {
    let address = withUnsafeBytes(of: storage) { bytes -> IPAddress? in
      switch CInt(storage.ss_family) {
      case AF_INET: IPAddress(ipv4: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self).bigEndian)
      case AF_INET6: IPAddress(ipv6: bytes.loadUnaligned(fromByteOffset: 8, as: UInt128.self).bigEndian)
      default: nil
      }
    }
    guard let address else { return nil }
    self = address
  }
}

/// Wakes a waiting thread from another one.
private final class WakeUp: Sendable {
  let reading: CInt
  private let writing: CInt

  init() throws(SocketError) {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SocketError("pipe", errno) }
    (reading, writing) = (ends[0], ends[1])
    for end in ends { try Acceptor.setNonBlocking(end) }
  }

  deinit {
    close(reading)
    close(writing)
  }

  func signal() {
    // If the pipe is full, it contains a signal already.
    var byte: UInt8 = 0
    _ = write(writing, &byte, 1)
  }

  func clear() {
    var bytes = [UInt8](repeating: 0, count: 64)
    while read(reading, &bytes, bytes.count) == bytes.count {}
  }
}
