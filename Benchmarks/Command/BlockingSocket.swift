// A plain blocking socket on this machine, so that what is measured is the server and not a client library.

import Foundation

final class BlockingSocket {
  struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ what: String) { description = "can't \(what): \(String(cString: strerror(errno)))" }
  }

  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  init(path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    try connect(&address)
  }

  /// On 127.0.0.1.
  init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    try connect(&address)
  }

  deinit { close(descriptor) }

  private func connect<Address>(_ address: inout Address) throws {
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<Address>.size))
      }
    }
    guard connected == 0 else { throw Failure("connect") }
  }

  func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { rest in
        Glibc.send(descriptor, rest.baseAddress! + sent, rest.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failure("send") }
      sent += count
    }
  }

  /// How long ``receive()`` waits for bytes from now on.
  func giveUp(afterSeconds seconds: Int) throws {
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    guard setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size)) == 0 else {
      throw Failure("set a deadline")
    }
  }

  /// Waits for bytes; none when the peer has closed.
  func receive() throws -> ArraySlice<UInt8> {
    let count = recv(descriptor, &buffer, buffer.count, 0)
    guard count >= 0 else { throw Failure("receive") }
    return buffer[..<count]
  }

  /// A port of 127.0.0.1 that nobody listens at now.
  static func freePort() throws -> Int {
    let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(probe) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(probe, $0, size) == 0 && getsockname(probe, $0, &size) == 0
      }
    }
    guard bound else { throw Failure("find a free port") }
    return Int(in_port_t(bigEndian: address.sin_port))
  }
}
