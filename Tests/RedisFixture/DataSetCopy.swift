// A program that copies a server's data set by posing as a replica, as backup tools do: byte for byte what they send, on a plain socket, so that a
// test can stop at any point of it. redis-cli's own `--rdb` and `--replica` are run by tests besides.

import Foundation

/// A conversation in which somebody copies the data set. Ends with this object.
public final class DataSetCopy: Sendable {
  private let descriptor: Int32

  /// Asks for the data set and reads nothing of it.
  /// - Parameter commands: What is sent, one line each.
  public init(of server: RedisServer, _ commands: String...) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw CannotStart(description: "no socket: \(String(cString: strerror(errno)))") }
    // Small, so that a server that sends more than that comes to wait.
    var size: Int32 = 4096
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(server.port).bigEndian)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let connected = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard connected == 0 else {
      close(descriptor)
      throw CannotStart(description: "can't connect to \(server.port): \(String(cString: strerror(errno)))")
    }
    for command in commands { try say(command) }
  }

  deinit { close(descriptor) }

  /// Sends one more line.
  public func say(_ command: String) throws {
    let bytes = Array("\(command)\r\n".utf8)
    guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
      throw CannotStart(description: "can't send \(command): \(String(cString: strerror(errno)))")
    }
  }

  /// Sends one more line and waits for its answer, before which a server doesn't take a PSYNC.
  public func ask(_ command: String) throws {
    try say(command)
    var patience = timeval(tv_sec: 5, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var answer = [UInt8](repeating: 0, count: 256)
    let count = recv(descriptor, &answer, answer.count, 0)
    guard count > 0, answer[0] == UInt8(ascii: "+") else {
      throw CannotStart(
        description: "\(command) was answered \(String(decoding: answer.prefix(max(count, 0)), as: UTF8.self))")
    }
  }

  /// Hangs up. A copy that nobody holds any more would hang up by itself, wherever the compiler finds that nobody does.
  public func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Takes what has come, and throws it away.
  public func readOn() {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)) > 0 {}
  }
}
