// The API key, as a type that can't be printed: a log, dump or interpolation of a configuration shows that there is a
// key, but not the key itself.

/// An API key.
public struct PushKey: Sendable {
  /// Used only for the one header that contains the key.
  let text: String

  /// - Parameter text: 1 to 512 visible ASCII characters, the maximum that a header can carry and a node reads.
  /// - Throws: ``IngestClient/InvalidConfiguration``, which names the error without showing the key.
  public init(_ text: some StringProtocol) throws(IngestClient.InvalidConfiguration) {
    guard (1...512).contains(text.utf8.count) else {
      throw IngestClient.InvalidConfiguration(
        "expected a key of 1 to 512 characters, got \(text.utf8.count)")
    }
    guard let place = text.utf8.firstIndex(where: { !(0x21...0x7E).contains($0) }) else {
      self.text = String(text)
      return
    }
    // The most frequent cause is a newline at the end of a file.
    let offset = text.utf8.distance(from: text.utf8.startIndex, to: place)
    throw IngestClient.InvalidConfiguration(
      "expected a key of visible ASCII characters, but character \(offset + 1) of \(text.utf8.count) isn't one")
  }
}

extension PushKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String { "<secret>" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: []) }
}
