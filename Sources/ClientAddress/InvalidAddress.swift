/// A text isn't an address, a block or a list of them. The description is the second half of a sentence, so that the
/// name of the setting can be put in front.
public struct InvalidAddress: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }

  /// - Parameters:
  ///   - expected: The expected form, to follow the word "expected".
  ///   - came: The actual text. Cut after 100 characters.
  init(expected: String, came: String) { description = "expected \(expected), got \(Self.shown(came))" }

  static func shown(_ text: String) -> String { text.count > 100 ? "\"\(text.prefix(100))…\"" : "\"\(text)\"" }
}
