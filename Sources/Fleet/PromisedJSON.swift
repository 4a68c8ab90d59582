// The one way in which JSON is written here. Its names are promised: fields may be added, none is renamed or removed, and what isn't known
// is null (`OrNull`). The schemas in the documentation catalogue say what there is; tests hold real outputs against them.

internal import Foundation

extension Encodable {
  /// JSON with sorted, snake-cased names, without a line end.
  /// - Throws: `EncodingError` where a number isn't finite.
  func promisedJSON(pretty: Bool) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    // Reports name their fields themselves, since other builds read them. What is only written has its properties' names.
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return Array(try encoder.encode(self))
  }

  /// The same as text, with a line end.
  func promisedText(pretty: Bool) throws -> String {
    String(decoding: try promisedJSON(pretty: pretty), as: UTF8.self) + "\n"
  }
}
