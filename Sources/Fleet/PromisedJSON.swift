// The only JSON encoder of this target. The names are promised: fields may be added, but none is renamed or removed,
// and unknown values are null (`OrNull`). The schemas in the documentation catalogue describe the fields, and tests
// check real output against them.

internal import Foundation

extension Encodable {
  /// JSON with sorted, snake-cased names, without a line end.
  /// - Throws: `EncodingError` if a number isn't finite.
  func promisedJSON(pretty: Bool) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    // Reports declare their field names, because other builds read them. Types that are only written use their
    // properties' names.
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return Array(try encoder.encode(self))
  }

  /// The same as text, with a line end.
  func promisedText(pretty: Bool) throws -> String {
    String(decoding: try promisedJSON(pretty: pretty), as: UTF8.self) + "\n"
  }
}
