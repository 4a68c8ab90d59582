// What a publisher asks of a store and what it is told: the words that the simulated store and the real one share in the
// conformance suite. The real writer has types of its own, which come with a Redis client that a simulation has no use for.

public import KeyReplica

/// A change that a publisher wants made.
public struct StoreEdit: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// Write the record, whether the key is known or not.
    case put(account: String, KeyState)
    /// Change the state of a known key; its account stays.
    case setState(KeyState)
  }

  public var key: KeyID
  public var kind: Kind

  public init(key: KeyID, kind: Kind) {
    self.key = key
    self.kind = kind
  }
}

/// What became of a batch of edits.
public struct StoreOutcome: Sendable, Hashable {
  /// The store's history and the version it is at after them; epoch and 0 of a store that isn't there yet mean nothing.
  public var epoch: String
  public var version: UInt64
  public var changed = 0
  public var unchanged = 0
  public var missing = 0

  public init(epoch: String, version: UInt64, changed: Int = 0, unchanged: Int = 0, missing: Int = 0) {
    self.epoch = epoch
    self.version = version
    self.changed = changed
    self.unchanged = unchanged
    self.missing = missing
  }
}

/// What became of sealing.
public struct SealOutcome: Sendable, Hashable {
  public var version: UInt64
  public var keys: Int
  public var already: Bool

  public init(version: UInt64, keys: Int, already: Bool) {
    self.version = version
    self.keys = keys
    self.already = already
  }
}

/// The store said no, and nothing was written. The code is the first word of the real store's error reply.
public struct StoreRefusal: Error, Sendable, Hashable, CustomStringConvertible {
  public enum Code: String, Sendable {
    case absent = "STORENONE"
    case broken = "STOREBROKEN"
    case otherKind = "STOREKIND"
    case empty = "STOREEMPTY"
    case rebuilding = "STOREREBUILD"
  }

  public var code: Code
  public var reason: String

  public init(_ code: Code, _ reason: String) {
    self.code = code
    self.reason = reason
  }

  public var description: String { "\(code.rawValue) \(reason)" }
}
