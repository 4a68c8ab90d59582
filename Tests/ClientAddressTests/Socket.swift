// A TCP or Unix socket as the kernel has it: the tests bind to an address before they connect, and want the first bytes as
// they come. Calls block, but not for longer than `patience`; loopback takes microseconds.

import Foundation
import RedisFixture

final class Socket: Sendable {
  private let descriptor: Int32
  private static let patience = timeval(tv_sec: 5, tv_usec: 0)

  struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ what: String) { description = "\(what): \(String(cString: strerror(errno)))" }
  }

  private init(descriptor: Int32) throws {
    guard descriptor >= 0 else { throw Failure("no socket") }
    self.descriptor = descriptor
    var patience = Self.patience
    let size = socklen_t(MemoryLayout<timeval>.size)
    guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, size) == 0,
      setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, size) == 0
    else { throw Failure("no deadline") }
  }

  deinit { close(descriptor) }

  /// A listener at any free port of 127.0.0.1.
  static func listening() throws -> Socket {
    let listener = try Socket(descriptor: socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
    guard try withAddress("127.0.0.1", 0, { bind(listener.descriptor, $0, $1) }) == 0,
      listen(listener.descriptor, 16) == 0
    else { throw Failure("cannot listen") }
    return listener
  }

  /// Connects from this address, with any port.
  static func connected(to host: String, _ port: Int, from source: String) throws -> Socket {
    let family = source.contains(":") ? AF_INET6 : AF_INET
    let client = try Socket(descriptor: socket(family, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
    guard try withAddress(source, 0, { bind(client.descriptor, $0, $1) }) == 0 else {
      throw Failure("cannot bind to \(source)")
    }
    guard try withAddress(host, port, { connect(client.descriptor, $0, $1) }) == 0 else {
      throw Failure("cannot connect to \(host) port \(port)")
    }
    return client
  }

  /// Connects to a Unix socket.
  static func connected(toPath path: String) throws -> Socket {
    let client = try Socket(descriptor: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(client.descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else { throw Failure("cannot connect to \(path)") }
    return client
  }

  /// The port that it listens on.
  var port: Int {
    get throws {
      var address = sockaddr_in()
      var size = socklen_t(MemoryLayout<sockaddr_in>.size)
      let result = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
      }
      guard result == 0 else { throw Failure("no port") }
      return Int(UInt16(bigEndian: address.sin_port))
    }
  }

  /// The next connection to this listener.
  func accepted() throws -> Socket {
    let connection = accept(descriptor, nil, nil)
    guard connection >= 0 else { throw Failure("nobody connects") }
    return try Socket(descriptor: connection)
  }

  func send(_ bytes: [UInt8]) throws {
    guard Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw Failure("cannot send")
    }
  }

  /// Reads until this number of bytes has arrived.
  func received(_ count: Int) throws -> [UInt8] {
    try received { $0.count >= count }
  }

  /// Reads until `isEnough`, or until the other side closes.
  func received(until isEnough: ([UInt8]) -> Bool) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while !isEnough(bytes) {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count >= 0 else { throw Failure("only \(bytes) came") }
      if count == 0 { break }
      bytes += buffer.prefix(count)
    }
    return bytes
  }

  private static func withAddress(
    _ host: String, _ port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) throws -> Int32 {
    var hints = addrinfo()
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, "\(port)", &hints, &list) == 0, let list, let address = list.pointee.ai_addr else {
      throw Failure("no address \(host) port \(port)")
    }
    defer { freeaddrinfo(list) }
    return body(address, list.pointee.ai_addrlen)
  }
}
