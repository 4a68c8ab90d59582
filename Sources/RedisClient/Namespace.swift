// The beginning of all Redis keys of Sluice. No other code contains it. The part after the hash tag is defined by the
// module that owns the key, in one file: the layouts of the key store, the queue and the fleet.

/// The first part of every Redis key, so that several installations of Sluice can share one Redis.
public struct Namespace: Sendable, Hashable, CustomStringConvertible {
  /// 1 to 64 letters, digits, `-`, `_` or `.`; these may be in braces.
  public let name: String
  /// Whether the name itself is the hash tag of all keys: for services that have one slot for all keys, or don't let a
  /// client's scripts and transactions use several slots.
  public let isHashTag: Bool

  public static let standard = Namespace(name: "sluice", isHashTag: false)

  private init(name: String, isHashTag: Bool) {
    self.name = name
    self.isHashTag = isHashTag
  }

  /// Nil unless the name has 1 to 64 letters, digits, `-`, `_` or `.`, or these in one pair of braces: other braces and
  /// colons would move keys to other slots or into other namespaces.
  public init?(_ name: String) {
    let isHashTag = name.hasPrefix("{") && name.hasSuffix("}")
    guard Self.isPlain(isHashTag ? name.dropFirst().dropLast() : name[...]) else { return nil }
    self.init(name: name, isHashTag: isHashTag)
  }

  /// Whether it is 1 to 64 letters, digits, `-`, `_` or `.`.
  public static func isPlain(_ name: some StringProtocol) -> Bool {
    let allowed = name.utf8.allSatisfy { byte in
      switch UInt8(byte) {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        true
      default: false
      }
    }
    return allowed && (1...64).contains(name.utf8.count)
  }

  /// A key under a hash tag: all keys of one tag are in one slot of a Redis Cluster, so that one script may use all of
  /// them.
  public func key(_ tag: String, _ rest: String) -> String {
    isHashTag ? "\(name):\(tag):\(rest)" : "\(name):{\(tag)}:\(rest)"
  }

  public var description: String { name }
}
