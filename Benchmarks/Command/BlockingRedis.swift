// Redis at its fastest, as the peer of a lookup in memory: a blocking socket and commands that were encoded beforehand, with no
// client library in between that could be blamed.

import Foundation

/// One conversation with Redis that blocks its thread.
final class BlockingRedis {
  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)

  init(unixSocket path: String) throws {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    try connect(&address)
  }

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
    guard connected == 0 else {
      throw Failure(description: "can't connect to Redis: \(String(cString: strerror(errno)))")
    }
  }

  static func encoded(_ words: [[UInt8]]) -> [UInt8] {
    words.reduce(into: Array("*\(words.count)\r\n".utf8)) { $0 += Array("$\($1.count)\r\n".utf8) + $1 + [13, 10] }
  }

  /// Sends encoded commands and reads until their replies, of one line each or a bulk string of one, have come.
  /// - Parameter lines: How many line ends the replies have: 1 for a status, 2 for a bulk string.
  func exchange(_ commands: [UInt8], lines: Int) throws {
    var sent = 0
    while sent < commands.count {
      let count = commands.withUnsafeBytes {
        send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failure(description: "can't send to Redis: \(String(cString: strerror(errno)))") }
      sent += count
    }
    var left = lines
    while left > 0 {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else { throw Failure(description: "Redis closed the connection") }
      for byte in buffer[..<count] {
        if byte == UInt8(ascii: "\n") { left -= 1 }
        if byte == UInt8(ascii: "-") { throw Failure(description: "Redis answered with an error") }
      }
    }
    guard left == 0 else { throw Failure(description: "Redis answered more than was asked") }
  }
}
