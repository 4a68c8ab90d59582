// An optional in JSON whose name is there even if its value isn't known. The synthesised encoders leave such a name out, and a reader
// couldn't tell "not known" from "no such field". Not an encoder written out per type: every new field would have to be added to it.

/// A value that is written as null where there is none. A null and a missing name are read alike, since reports of other builds lack names.
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
  /// Preferred by the synthesised decoders, which otherwise fail where the name is missing.
  func decode<Value: Decodable & Sendable>(_ type: OrNull<Value>.Type, forKey key: Key) throws -> OrNull<Value> {
    OrNull(wrappedValue: try decodeIfPresent(Value.self, forKey: key))
  }
}
