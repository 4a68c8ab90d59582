// Commands as bytes. Redis reads a command as an array of length-prefixed strings, so arguments are binary-safe and
// nothing needs quoting. A command is encoded once, when it is created: senders only copy bytes.

/// One command with its arguments, encoded for the wire.
public struct RedisCommand: Sendable, CustomStringConvertible {
  /// The command's name, for messages. Arguments may be secrets and are never shown.
  public let name: String
  /// The number of arguments after the name.
  public let argumentCount: Int
  /// The command in RESP, ready to be sent.
  public let encoded: [UInt8]

  public init(_ name: String, _ arguments: any RedisArgument...) {
    self.init(name, arguments: arguments)
  }

  public init(_ name: String, arguments: [any RedisArgument]) {
    var encoder = RedisCommandEncoder(name, argumentCount: arguments.count)
    for argument in arguments { argument.append(to: &encoder) }
    self = encoder.finish()
  }

  fileprivate init(name: String, argumentCount: Int, encoded: [UInt8]) {
    self.name = name
    self.argumentCount = argumentCount
    self.encoded = encoded
  }

  public var description: String { "\(name) (\(argumentCount) arguments)" }
}

/// Something that can be one argument of a command.
public protocol RedisArgument: Sendable {
  func append(to encoder: inout RedisCommandEncoder)
}

/// Encodes a command argument by argument, for callers with too many arguments to make an array of them first.
public struct RedisCommandEncoder: Sendable {
  private let name: String
  private let argumentCount: Int
  @usableFromInline var appended = 0
  @usableFromInline var encoded: [UInt8] = []

  /// - Parameter argumentCount: The exact number of arguments that will be appended.
  public init(_ name: String, argumentCount: Int, reservingBytes capacity: Int = 0) {
    self.name = name
    self.argumentCount = argumentCount
    encoded.reserveCapacity(capacity + 64)
    encoded.append(UInt8(ascii: "*"))
    encoded.append(decimal: argumentCount + 1)
    encoded.appendLineEnd()
    appendArgument(name.utf8)
  }

  /// Appends one argument, byte for byte. Inlinable, so that it is specialised for the caller's type.
  @inlinable
  public mutating func append(_ bytes: some Collection<UInt8>) {
    appended += 1
    appendArgument(bytes)
  }

  @inlinable
  mutating func appendArgument(_ bytes: some Collection<UInt8>) {
    encoded.append(UInt8(ascii: "$"))
    encoded.append(decimal: bytes.count)
    encoded.appendLineEnd()
    encoded.append(contentsOf: bytes)
    encoded.appendLineEnd()
  }

  public consuming func finish() -> RedisCommand {
    precondition(
      appended == argumentCount,
      "\(name) was announced with \(argumentCount) arguments and got \(appended): the server would wait for the rest")
    return RedisCommand(name: name, argumentCount: argumentCount, encoded: encoded)
  }
}

extension String: RedisArgument {
  public func append(to encoder: inout RedisCommandEncoder) { encoder.append(self.utf8) }
}

extension Int: RedisArgument {
  public func append(to encoder: inout RedisCommandEncoder) { encoder.append(String(self).utf8) }
}

extension Int64: RedisArgument {
  public func append(to encoder: inout RedisCommandEncoder) { encoder.append(String(self).utf8) }
}

extension UInt64: RedisArgument {
  public func append(to encoder: inout RedisCommandEncoder) { encoder.append(String(self).utf8) }
}

extension [UInt8]: RedisArgument {
  public func append(to encoder: inout RedisCommandEncoder) { encoder.append(self as [UInt8]) }
}

extension ArraySlice<UInt8>: RedisArgument {
  public func append(to encoder: inout RedisCommandEncoder) { encoder.append(self as ArraySlice<UInt8>) }
}

extension [UInt8] {
  /// Appends a number in decimal digits, without going through a string.
  @usableFromInline mutating func append(decimal number: Int) {
    if number >= 10 { append(decimal: number / 10) }
    append(UInt8(ascii: "0") + UInt8(number % 10))
  }

  @usableFromInline mutating func appendLineEnd() {
    append(UInt8(ascii: "\r"))
    append(UInt8(ascii: "\n"))
  }
}
