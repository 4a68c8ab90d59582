package import Foundation

/// JSON as it was written. Not `JSONSerialization`, whose numbers and booleans can't be told apart on every platform.
package enum JSONValue: Decodable, Equatable, Sendable {
  case null
  case bool(Bool)
  case number(Double, isInteger: Bool)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let bool = try? container.decode(Bool.self) {
      self = .bool(bool)
    } else if let number = try? container.decode(Double.self) {
      let isInteger = (try? container.decode(Int64.self)) != nil || (try? container.decode(UInt64.self)) != nil
      self = .number(number, isInteger: isInteger)
    } else if let string = try? container.decode(String.self) {
      self = .string(string)
    } else if let array = try? container.decode([JSONValue].self) {
      self = .array(array)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  package init(_ json: Data) throws { self = try JSONDecoder().decode(JSONValue.self, from: json) }

  package var object: [String: JSONValue]? { if case .object(let members) = self { members } else { nil } }
  package var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
  package var string: String? { if case .string(let string) = self { string } else { nil } }

  /// As `type` names it. An integer is a `number` too.
  var typeName: String {
    switch self {
    case .null: "null"
    case .bool: "boolean"
    case .number(_, let isInteger): isInteger ? "integer" : "number"
    case .string: "string"
    case .array: "array"
    case .object: "object"
    }
  }
}
