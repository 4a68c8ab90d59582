internal import Foundation

/// A system call on a socket failed.
package struct SocketError: Error, CustomStringConvertible {
  package let call: String
  package let code: CInt

  package init(_ call: String, _ code: CInt) {
    self.call = call
    self.code = code
  }

  /// Whether the call will fail again, however often it is repeated.
  package var isLasting: Bool { [EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP, EFAULT].contains(code) }

  package var description: String { "\(call): \(String(cString: strerror(code))) (errno \(code))" }
}
