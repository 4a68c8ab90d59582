internal import Foundation
internal import NIOCore

/// A listener couldn't be opened. The text has the listener, its address, the reason and a remedy.
package struct CannotListen: Error, CustomStringConvertible {
  package let description: String

  /// - Parameters:
  ///   - option: The option that sets the listener's address.
  ///   - error: An error of the system or NIO.
  package init(_ option: String, host: String, port: Int, _ error: any Error) {
    let address = ListeningAddress(host: host, port: port)
    let (why, remedy): (String, String) =
      switch error {
      case is SocketAddressError, is SocketAddressError.UnknownHost:
        ("the name \(host) has no address", "write an address of this machine, or 0.0.0.0 for all")
      case let error as SocketError: Self.words(error.code, host, port)
      case let error as IOError: Self.words(error.errnoCode, host, port)
      default: ("\(error)", "choose another address")
      }
    description = "can't listen at \(address): \(why); \(remedy) (\(option))"
  }

  private static func words(_ code: CInt, _ host: String, _ port: Int) -> (String, String) {
    let system = String(cString: strerror(code))
    return switch code {
    case EADDRINUSE: (system, "another process has port \(port): end it, or choose another port")
    case EACCES, EPERM:
      (system, "ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port, or give this process the capability")
    case EADDRNOTAVAIL:
      (system, "\(host) isn't an address of this machine: use one of its addresses, or 0.0.0.0 for all")
    default: (system, "choose another address")
    }
  }

  /// Runs the body, which opens a listener, and converts its error.
  package static func explain<Value>(
    _ option: String, host: String, port: Int, _ body: () async throws -> Value
  ) async throws(CannotListen) -> Value {
    do { return try await body() } catch { throw CannotListen(option, host: host, port: port, error) }
  }
}
