// An optional that is always present in JSON: as null if there is no value. The synthesised encoders omit the name, and
// a reader couldn't tell "not known" from "no such field". Rejected: an encoder written by hand for each type, because
// every new field would have to be added to it.

/// A value that is encoded as null if there is none. A null and a missing name are decoded alike, because other builds'
/// reports lack names.
@propertyWrapper public struct OrNull<Value: Sendable>: Sendable {
  public var wrappedValue: Value?

  public init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }
}

extension OrNull: Equatable where Value: Equatable {}

extension OrNull: Encodable where Value: Encodable {
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}

extension OrNull: Decodable where Value: Decodable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    wrappedValue = container.decodeNil() ? nil : try container.decode(Value.self)
  }
}

extension KeyedDecodingContainer {
  /// The synthesised decoders prefer this overload. Without it they fail if the name is missing.
  func decode<Value: Decodable & Sendable>(_ type: OrNull<Value>.Type, forKey key: Key) throws -> OrNull<Value> {
    OrNull(wrappedValue: try decodeIfPresent(Value.self, forKey: key))
  }
}
