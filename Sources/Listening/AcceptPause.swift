// The pause of accepting after a failure. The socket stays readable while accept fails with EMFILE, and trying again at
// once, for ever, would use a whole processor.

internal import Foundation
package import NIOCore

package struct AcceptPause {
  private static let first = TimeAmount.milliseconds(50)
  private static let longest = TimeAmount.seconds(1)

  /// Pauses double, from the first to the longest.
  private var next = first

  package init() {}

  /// Accepting succeeded: the next pause is the shortest again.
  package mutating func reset() { next = Self.first }

  /// - Parameter code: The error of `accept`.
  /// - Returns: The pause before the next try.
  package mutating func after(_ code: CInt) -> TimeAmount {
    // A client that disconnected before it was accepted is no reason to pause.
    if code == ECONNABORTED { return .zero }
    defer { next = min(next * 2, Self.longest) }
    return next
  }
}
