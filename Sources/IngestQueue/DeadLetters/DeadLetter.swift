// A dead letter as whoever looks after them sees it: everything but the envelope, which may be large and is asked for by itself.

internal import Hiredis

/// An envelope that was given up, and why.
public struct DeadLetter: Sendable, Equatable {
  /// Which entry of the shard's stream it is: its own for as long as it is there, and nobody's afterwards. By it letters are ordered.
  public var entry: Entry
  /// The envelope's id, or the SHA-1 of an element that isn't an envelope.
  public var id: String
  /// The last reason. At most 4,096 bytes of it.
  public var reason: String
  /// How often storing it failed.
  public var attempts: Int
  /// How many workers died over it.
  public var deaths: Int
  /// When it failed first and when it was given up, in milliseconds since 1970 by Redis's clock.
  public var firstAt: Int64
  public var diedAt: Int64
  /// Who gave it up; or, where workers died over it, the last of them.
  public var worker: String
  /// Nil where the element isn't an envelope.
  public var account: String?
  /// Bytes of the element: the envelope's line of JSON, a newline, the payload.
  public var bytes: Int

  /// The name of an entry in the stream: a time in milliseconds and a number.
  public struct Entry: Sendable, Hashable, Comparable, CustomStringConvertible {
    public let description: String
    private let time: UInt64
    private let number: UInt64

    init(_ text: String) throws(UnexpectedReply) {
      let parts = text.split(separator: "-")
      guard parts.count == 2, let time = UInt64(parts[0]), let number = UInt64(parts[1]) else {
        throw UnexpectedReply(expected: "the id of a stream's entry", came: "\"\(text.prefix(100))\"")
      }
      description = text
      self.time = time
      self.number = number
    }

    public static func < (one: Entry, other: Entry) -> Bool { (one.time, one.number) < (other.time, other.number) }
  }
}

/// An entry among the dead letters that isn't one: another hand must have been there. It can't be requeued.
public struct UnreadableLetter: Error, Sendable, Equatable, CustomStringConvertible {
  public var entry: DeadLetter.Entry
  /// The SHA-1 of its element.
  public var id: String
  /// Bytes of its element: of its field `envelope`, or of everything in it where there is none.
  public var bytes: Int
  /// What it lacks.
  public var flaw: String

  public var description: String { "not a dead letter: \(flaw)" }
}

/// What is found among the dead letters.
public typealias FoundLetter = Result<DeadLetter, UnreadableLetter>

extension FoundLetter {
  public var entry: DeadLetter.Entry {
    switch self {
    case .success(let letter): letter.entry
    case .failure(let letter): letter.entry
    }
  }

  public var id: String {
    switch self {
    case .success(let letter): letter.id
    case .failure(let letter): letter.id
    }
  }

  public var bytes: Int {
    switch self {
    case .success(let letter): letter.bytes
    case .failure(let letter): letter.bytes
    }
  }

  /// The reason of a letter, the flaw of what isn't one.
  public var reason: String {
    switch self {
    case .success(let letter): letter.reason
    case .failure(let letter): letter.description
    }
  }
}

/// Which dead letters are meant. What isn't given doesn't matter; nothing given means all.
public struct DeadLetterFilter: Sendable, Equatable {
  /// Any of these.
  public var ids: Set<String>?
  /// A part of the reason.
  public var reason: String?
  public var account: String?
  public var worker: String?

  public init(ids: Set<String>? = nil, reason: String? = nil, account: String? = nil, worker: String? = nil) {
    self.ids = ids
    self.reason = reason
    self.account = account
    self.worker = worker
  }

  /// What isn't readable has no account and no worker, and its reason is unknown: it is meant by its id, or where all are.
  public func matches(_ found: FoundLetter) -> Bool {
    if let ids, !ids.contains(found.id) { return false }
    switch found {
    case .success(let letter):
      if let reason, !letter.reason.contains(reason) { return false }
      if let account, letter.account != account { return false }
      if let worker, letter.worker != worker { return false }
      return true
    case .failure: return reason == nil && account == nil && worker == nil
    }
  }
}
