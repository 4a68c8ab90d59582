// The API key, as a type that can't be printed: whatever logs, dumps or interpolates a configuration shows that there is
// a key, and never which.

/// An API key.
public struct PushKey: Sendable {
  /// For the one header that it goes into.
  let text: String

  /// - Parameter text: 1 to 512 visible ASCII characters, which is what a header can carry and a node looks at.
  /// - Throws: ``IngestClient/InvalidConfiguration``, which says what is wrong with it and doesn't show it.
  public init(_ text: some StringProtocol) throws(IngestClient.InvalidConfiguration) {
    guard (1...512).contains(text.utf8.count) else {
      throw IngestClient.InvalidConfiguration(
        "expected a key of 1 to 512 characters, not one of \(text.utf8.count)")
    }
    guard let place = text.utf8.firstIndex(where: { !(0x21...0x7E).contains($0) }) else {
      self.text = String(text)
      return
    }
    // The usual case is a newline at the end of a file.
    let offset = text.utf8.distance(from: text.utf8.startIndex, to: place)
    throw IngestClient.InvalidConfiguration(
      "expected a key of visible ASCII characters, but character \(offset + 1) of \(text.utf8.count) isn't one")
  }
}

extension PushKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// Always the same, whatever the key is.
  public var description: String { "<secret>" }
  /// Always the same, whatever the key is.
  public var debugDescription: String { description }
  /// Shows nothing.
  public var customMirror: Mirror { Mirror(self, children: []) }
}
