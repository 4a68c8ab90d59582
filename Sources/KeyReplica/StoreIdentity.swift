// Which store a node mirrors. A Redis address may lead to another store: a mistyped host, a changed DNS record, a test
// system's dump. Such a store is whole, sealed and consistent, and with its "proofs" a node would refuse all customers.
//
// So a store has an ID, which is made with it and stays through failovers, restored backups and reseals, and a name,
// which an operator gives it. A node remembers the store that it mirrored, in its state file as well, and may be told a
// name (`--store`). On the word of any other store it does nothing: it reads no bucket of it, so it neither refuses nor
// admits by it. An operator who has replaced a store says so in the new one (`key-publisher adopt`).
//
// The ID is the epoch of the store's first history. A store that was made before there were IDs has one by that rule
// too, and the next write records it.
//
// Rejected: the address as identity. It changes when Redis moves, and stays when another store is put behind it.
// Rejected: the name alone. Nothing keeps two stores from having the same one.

/// The ID and name of a key store.
public struct StoreIdentity: Sendable, Hashable, CustomStringConvertible {
  /// 32 hexadecimal digits: the epoch of the store's first history.
  public var id: String
  /// As an operator named it; nil if nobody has.
  public var name: String?

  public init(id: String, name: String? = nil) {
    self.id = id
    self.name = name
  }

  public var description: String { "\(name ?? "an unnamed store") (ID \(id))" }

  /// Why a text can't be a store's name, or nil if it can.
  public static func objection(toName name: String) -> String? {
    let isAllowed = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    guard isAllowed, (1...64).contains(name.utf8.count) else {
      return "expected a store's name of 1 to 64 letters, digits, dots, hyphens and underscores, got \"\(name)\""
    }
    return isID(name) ? "expected a store's name, got what looks like a store's ID: \(name)" : nil
  }

  /// Whether a text has the form of an ID.
  public static func isID(_ text: String) -> Bool {
    text.utf8.count == 32
      && text.utf8.allSatisfy {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
      }
  }
}

/// Another store than the one that a node mirrors.
public struct WrongStore: Sendable, Hashable, Codable, CustomStringConvertible {
  /// The store that the node mirrors, as text.
  public var expected: String
  /// The store at the address, as text.
  public var met: String
  /// If the found store is the right one: the command that the operator has to run on it.
  public var command: String

  public init(expected: String, met: String, command: String) {
    self.expected = expected
    self.met = met
    self.command = command
  }

  public var description: String {
    "expected the store \(expected), found \(met). If the address (--redis) is wrong, correct it. If the found store "
      + "replaces the expected one, run there: \(command)"
  }
}

/// What is known of the store that a mirror was made from, for the next start.
public struct StoreMemory: Sendable, Hashable {
  public var store: StoreIdentity
  /// The mirrored history, and the version up to which it was followed.
  public var epoch: String
  public var version: UInt64
  /// The latest confirmation of removals in that history.
  public var confirmed: UInt64
  /// The maximum age of the source mark that a store said last; nil for none.
  public var sourceMaxAge: Duration?

  public init(
    store: StoreIdentity, epoch: String, version: UInt64, confirmed: UInt64, sourceMaxAge: Duration? = nil
  ) {
    self.store = store
    self.epoch = epoch
    self.version = version
    self.confirmed = confirmed
    self.sourceMaxAge = sourceMaxAge
  }
}

/// The store that a node expects at its address.
struct ExpectedStore {
  /// The name that an operator has given the node; nil for any.
  let name: String?
  /// The store that was mirrored last as a whole; nil if there was none. Then the first one is trusted.
  var mirrored: StoreIdentity?

  /// Why a store isn't the expected one; nil if it is, or has replaced it.
  func objection(to position: StorePosition) -> WrongStore? {
    let met = position.store
    func isReplaced(_ word: String?) -> Bool { word.map(position.adopted.contains) ?? false }
    if let mirrored, met.id != mirrored.id, !isReplaced(mirrored.id), !isReplaced(mirrored.name) {
      return WrongStore(expected: "\(mirrored)", met: "\(met)", command: "key-publisher adopt \(mirrored.id)")
    }
    if let name, met.name != name, !isReplaced(name) {
      let command = met.name == nil ? "key-publisher create --name \(name)" : "key-publisher adopt \(name)"
      return WrongStore(expected: name, met: "\(met)", command: command)
    }
    return nil
  }
}
