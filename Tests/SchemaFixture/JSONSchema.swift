// A validator for the JSON Schemas of this repository. It knows the keywords that they use, and fails on any other: a keyword that
// was passed over would be a check that isn't made.

package import Foundation

/// A JSON Schema and the files beside it that it refers to.
package struct JSONSchema: Sendable {
  /// A schema that this validator can't use.
  package struct Unusable: Error, Equatable, CustomStringConvertible {
    package let description: String
  }

  private let name: String
  /// By their names.
  private let files: [String: JSONValue]

  /// Reads a schema of the documentation catalogue.
  package init(ofCatalogue name: String) throws {
    var root = URL(fileURLWithPath: #filePath)
    for _ in 1...3 { root.deleteLastPathComponent() }
    let folder = root.appendingPathComponent("Sources/CommandSupport/Sluice.docc/Resources")
    try self.init(name) { try Data(contentsOf: folder.appendingPathComponent($0)) }
  }

  /// - Parameter read: The bytes of the file with this name.
  package init(_ name: String, reading read: (String) throws -> Data) throws {
    var files: [String: JSONValue] = [:]
    var missing = [name]
    while let next = missing.popLast() {
      guard files[next] == nil else { continue }
      let file = try JSONValue(try read(next))
      files[next] = file
      try Self.forEachSchema(in: file, at: next) { schema, _ in
        guard let reference = schema["$ref"]?.string, !reference.hasPrefix("#") else { return }
        missing.append(reference)
      }
    }
    self.name = name
    self.files = files
  }

  /// Calls `body` with each schema in the files and its place.
  package func forEachSchema(_ body: ([String: JSONValue], String) throws -> Void) throws {
    for (name, file) in files.sorted(by: { $0.key < $1.key }) { try Self.forEachSchema(in: file, at: name, body) }
  }

  /// The violations in a text, each with its place; empty if the text is valid.
  package func problems(in json: Data) throws -> [String] {
    try problems(in: JSONValue(json), file: name, schema: files[name] ?? .null, at: "$")
  }

  // MARK: The schema itself

  private static func forEachSchema(
    in value: JSONValue, at place: String, _ body: ([String: JSONValue], String) throws -> Void
  ) throws {
    // `true` and `false` are schemas as well.
    if case .bool = value { return }
    guard let schema = value.object else { throw Unusable(description: "\(place) is no schema") }
    try body(schema, place)
    for (keyword, value) in schema.sorted(by: { $0.key < $1.key }) {
      let here = "\(place)/\(keyword)"
      switch keyword {
      case "$schema", "title", "description", "$ref", "type", "enum", "const", "minimum", "pattern", "required": break
      case "items", "additionalProperties": try forEachSchema(in: value, at: here, body)
      case "properties", "$defs":
        guard let members = value.object else { throw Unusable(description: "\(here) is no object") }
        for (name, member) in members.sorted(by: { $0.key < $1.key }) {
          try forEachSchema(in: member, at: "\(here)/\(name)", body)
        }
      case "anyOf", "oneOf":
        guard let choices = value.array else { throw Unusable(description: "\(here) is no array") }
        for (index, choice) in choices.enumerated() { try forEachSchema(in: choice, at: "\(here)/\(index)", body) }
      default: throw Unusable(description: "unknown keyword \(here)")
      }
    }
  }

  private func resolve(_ reference: String, in file: String) throws -> (file: String, schema: JSONValue) {
    if let schema = files[reference] { return (reference, schema) }
    guard reference.hasPrefix("#/$defs/"),
      let schema = files[file]?.object?["$defs"]?.object?[String(reference.dropFirst(8))]
    else { throw Unusable(description: "\(file) refers to \(reference), which isn't there") }
    return (file, schema)
  }

  // MARK: A value

  private func problems(in value: JSONValue, file: String, schema: JSONValue, at place: String) throws -> [String] {
    if case .bool(let isAllowed) = schema { return isAllowed ? [] : ["\(place): not allowed"] }
    guard let schema = schema.object else { throw Unusable(description: "no schema for \(place)") }
    var problems: [String] = []
    for (keyword, rule) in schema.sorted(by: { $0.key < $1.key }) {
      switch (keyword, rule, value) {
      case ("$ref", .string(let reference), _):
        let (file, schema) = try resolve(reference, in: file)
        problems += try self.problems(in: value, file: file, schema: schema, at: place)
      case ("type", _, _):
        let names = (rule.array ?? [rule]).compactMap(\.string)
        let type = value.typeName
        if !names.contains(type), type != "integer" || !names.contains("number") {
          problems.append("\(place): expected \(names.joined(separator: " or ")), got \(type)")
        }
      case ("enum", .array(let values), _):
        if !values.contains(value) { problems.append("\(place): expected one of \(values), got \(value)") }
      case ("const", _, _):
        if value != rule { problems.append("\(place): expected \(rule), got \(value)") }
      case ("minimum", .number(let minimum, _), .number(let number, _)):
        if number < minimum { problems.append("\(place): expected at least \(minimum), got \(number)") }
      case ("pattern", .string(let pattern), .string(let text)):
        if try Regex(pattern).firstMatch(in: text) == nil {
          problems.append("\(place): expected a match of \(pattern), got \(text)")
        }
      case ("required", .array(let names), .object(let members)):
        for name in names.compactMap(\.string) where members[name] == nil { problems.append("\(place): lacks \(name)") }
      case ("properties", .object(let properties), .object(let members)):
        for (name, member) in members.sorted(by: { $0.key < $1.key }) {
          guard let schema = properties[name] else { continue }
          problems += try self.problems(in: member, file: file, schema: schema, at: "\(place).\(name)")
        }
      case ("additionalProperties", _, .object(let members)):
        let properties = schema["properties"]?.object ?? [:]
        for (name, member) in members.sorted(by: { $0.key < $1.key }) where properties[name] == nil {
          problems += try self.problems(in: member, file: file, schema: rule, at: "\(place).\(name)")
        }
      case ("items", _, .array(let elements)):
        for (index, element) in elements.enumerated() {
          problems += try self.problems(in: element, file: file, schema: rule, at: "\(place)[\(index)]")
        }
      case ("anyOf", .array(let choices), _), ("oneOf", .array(let choices), _):
        let found = try choices.map { try self.problems(in: value, file: file, schema: $0, at: place) }
        let matches = found.count { $0.isEmpty }
        if matches == 0 {
          problems += found.enumerated().flatMap { index, found in found.map { "\(keyword) \(index): \($0)" } }
        } else if keyword == "oneOf", matches > 1 {
          problems.append("\(place): \(matches) choices of oneOf match")
        }
      default: break
      }
    }
    return problems
  }
}
