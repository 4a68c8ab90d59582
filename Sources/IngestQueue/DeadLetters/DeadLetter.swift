// A dead letter without its envelope, which may be large and is read separately.

internal import Hiredis

/// An envelope that was given up, with the reason.
public struct DeadLetter: Sendable, Equatable {
  /// The ID of its entry in the shard's stream. No other entry ever has the same ID. Dead letters are ordered by it.
  public var entry: Entry
  /// The envelope's id, or the SHA-1 of an element that isn't an envelope.
  public var id: String
  /// The last reason, cut to 4,096 bytes.
  public var reason: String
  /// How often storing it failed.
  public var attempts: Int
  /// How many workers died while they had it.
  public var deaths: Int
  /// When it failed first and when it was given up, in milliseconds since 1970 by Redis's clock.
  public var firstAt: Int64
  public var diedAt: Int64
  /// The worker that gave it up; or if workers died while they had it, the last of them.
  public var worker: String
  /// Nil if the element isn't an envelope.
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

/// An entry in the stream that isn't a dead letter. It was written by another program or by hand, and can't be
/// requeued.
public struct UnreadableLetter: Error, Sendable, Equatable, CustomStringConvertible {
  public var entry: DeadLetter.Entry
  /// The SHA-1 of its element.
  public var id: String
  /// Bytes of its element: of its field `envelope`, or of all its fields if it has none.
  public var bytes: Int
  /// The missing or malformed part.
  public var flaw: String

  public var description: String { "not a dead letter: \(flaw)" }
}

/// An entry of the stream.
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

  /// The reason of a dead letter, or the flaw of an unreadable one.
  public var reason: String {
    switch self {
    case .success(let letter): letter.reason
    case .failure(let letter): letter.description
    }
  }
}

/// Selects dead letters. A nil condition isn't checked; without conditions all are selected.
public struct DeadLetterFilter: Sendable, Equatable {
  /// With one of these IDs.
  public var ids: Set<String>?
  /// With this text in the reason.
  public var reason: String?
  public var account: String?
  public var worker: String?

  public init(ids: Set<String>? = nil, reason: String? = nil, account: String? = nil, worker: String? = nil) {
    self.ids = ids
    self.reason = reason
    self.account = account
    self.worker = worker
  }

  /// An unreadable entry has no account, worker or reason. It is selected by its ID, or if all are.
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
