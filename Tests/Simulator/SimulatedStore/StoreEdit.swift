// The edits and results that the simulated store and the real one share in the conformance suite. The real writer has
// types of its own, but they depend on a Redis client, which a simulation doesn't need.

public import KeyReplica

/// A change that a publisher wants made.
public struct StoreEdit: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// Write the record, whether the key is known or not. Without a state a known key keeps its own, and a new one is
    /// active.
    case put(account: String, KeyState?)
    /// Change the state of a known key; its account stays.
    case setState(KeyState)
  }

  /// What an edit may do.
  public struct Permissions: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Take an active key out of service, as was agreed.
    public static let end = Permissions(rawValue: 1)
    /// Move a known key to another account.
    public static let move = Permissions(rawValue: 2)
    /// Change a revoked key.
    public static let reactivate = Permissions(rawValue: 4)
    public static let everything: Permissions = [.end, .move, .reactivate]
  }

  /// The effect of a put on the key's expiry.
  public enum Expiry: Sendable, Hashable {
    case keep
    case remove
    /// Seconds since 1970.
    case set(Int64)
  }

  public var key: KeyID
  public var kind: Kind
  public var allowing: Permissions
  public var revision: UInt64?
  public var expiry: Expiry

  public init(
    key: KeyID, kind: Kind, allowing: Permissions = .everything, revision: UInt64? = nil, expiry: Expiry = .keep
  ) {
    self.key = key
    self.kind = kind
    self.allowing = allowing
    self.revision = revision
    self.expiry = expiry
  }
}

/// What became of a batch of edits.
public struct StoreOutcome: Sendable, Hashable {
  /// The store's history and the version it is at after them; epoch and 0 of a store that isn't there yet mean nothing.
  public var epoch: String
  public var version: UInt64
  /// Two letters for each edit, as the script answers them: what became of it, and the key's state now.
  public var results: [String]

  public init(epoch: String, version: UInt64, results: [String] = []) {
    self.epoch = epoch
    self.version = version
    self.results = results
  }

  public var changed: Int { count("c") }
  public var unchanged: Int { count("u") }
  public var missing: Int { count("m") }

  private func count(_ letter: String) -> Int { results.count { $0.hasPrefix(letter) } }
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
  public enum Code: String, Sendable, CaseIterable {
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
