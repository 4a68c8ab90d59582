// What an acknowledgement is worth with a Redis as it is set up, and what an operator may demand of it. Read from Redis itself, so
// that the node says what is and not what somebody once configured.
//
// What isn't known is said to be unknown, and doesn't meet any demand: where CONFIG is forbidden, INFO still tells whether there is
// an append-only file, and nothing tells how often it is synced.

internal import Hiredis

/// What Redis does for a write before it answers, and after.
public struct Durability: Sendable, Equatable, CustomStringConvertible {
  public enum Disk: Sendable, Equatable {
    /// In memory, but for snapshots that may be made now and then.
    case memory
    /// In the append-only file, which is synced when the system likes, or not while it is rewritten.
    case unsynced
    /// In the append-only file, which is synced each second.
    case everySecond
    /// Synced before it is answered.
    case always
    /// It can't be told, for this reason; whether there is a file at all may be known.
    case unknown(appendsToFile: Bool?, why: String)

    /// From the worst on.
    var rank: Int {
      switch self {
      case .unknown: 0
      case .memory: 1
      case .unsynced: 2
      case .everySecond: 3
      case .always: 4
      }
    }
  }

  public var disk: Disk
  /// Replicas that are connected and have been heard within the last seconds; nil where it can't be told.
  public var replicas: Int?

  public init(disk: Disk, replicas: Int?) {
    self.disk = disk
    self.replicas = replicas
  }

  /// In words, as the status shows it.
  public var description: String {
    let disk =
      switch disk {
      case .memory: "in memory only"
      case .unsynced: "append-only file without regular fsync"
      case .everySecond: "fsync each second"
      case .always: "fsync before each answer"
      case .unknown(true?, _): "append-only file, how often synced unknown"
      case .unknown(false?, _): "in memory only"
      case .unknown(nil, _): "unknown"
      }
    return switch replicas {
    case nil: "\(disk), replicas unknown"
    case 0?: disk
    case 1?: "\(disk), 1 replica"
    case let count?: "\(disk), \(count) replicas"
    }
  }

  /// Whether less can be relied on than with the other.
  public func isWorse(than other: Durability) -> Bool {
    (disk.rank, replicas ?? -1) < (other.disk.rank, other.replicas ?? -1)
  }
}

// MARK: Reading

extension Durability {
  /// What is asked, in one write.
  static let questions = [
    RedisCommand("CONFIG", "GET", "appendonly", "appendfsync", "no-appendfsync-on-rewrite"),
    RedisCommand("INFO", "persistence"),
    RedisCommand("INFO", "replication"),
  ]

  /// How long ago a replica may have been heard to count, in seconds; a sound one is heard each second. Redis itself keeps one that
  /// is silent for a minute.
  static let silence = 5

  /// - Parameter answers: To ``questions``, in their order.
  init(answers: [RedisReply]) {
    precondition(answers.count == Self.questions.count)
    disk = Self.disk(settings: answers[0], persistence: answers[1])
    replicas = Self.replicas(answers[2])
  }

  private static func disk(settings: RedisReply, persistence: RedisReply) -> Disk {
    let appends = InfoFields(persistence)?["aof_enabled"].map { $0 == "1" }
    let values: [String: String]
    do {
      let words = try settings.array().map { try $0.string() }
      values = Dictionary(
        stride(from: 0, to: words.count - 1, by: 2).map { (words[$0], words[$0 + 1]) }, uniquingKeysWith: { $1 })
    } catch {
      return .unknown(appendsToFile: appends, why: "CONFIG GET: \(error)")
    }
    switch (values["appendonly"], values["appendfsync"]) {
    case ("no", _): return .memory
    case ("yes", "no"): return .unsynced
    case ("yes", "everysec"), ("yes", "always"):
      // While the file is rewritten nothing is synced then, which may take minutes.
      if values["no-appendfsync-on-rewrite"] == "yes" { return .unsynced }
      return values["appendfsync"] == "always" ? .always : .everySecond
    case (let file, let sync):
      return .unknown(
        appendsToFile: appends ?? file.map { $0 == "yes" },
        why: "CONFIG GET says appendonly \(file ?? "nothing") and appendfsync \(sync ?? "nothing")")
    }
  }

  private static func replicas(_ replication: RedisReply) -> Int? {
    guard let fields = InfoFields(replication), let connected = fields["connected_slaves"].flatMap({ Int($0) }) else {
      return nil
    }
    // `slave0:ip=127.0.0.1,port=6380,state=online,offset=1234,lag=0`
    return (0..<min(connected, 1_000)).count { number in
      // At port 0 it's a program that copies the data set, and keeps nothing that could be promoted.
      guard let parts = fields["slave\(number)"]?.split(separator: ","), parts.contains("state=online"),
        !parts.contains("port=0")
      else { return false }
      let lag = parts.first { $0.hasPrefix("lag=") }.flatMap { Int($0.dropFirst(4)) }
      return lag.map { (0...silence).contains($0) } ?? false
    }
  }
}

/// The fields of a part of INFO.
struct InfoFields {
  private var fields: [Substring: Substring] = [:]

  /// Nil where the reply is no text.
  init?(_ reply: RedisReply) {
    guard case .bulk(let bytes) = reply else { return nil }
    for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { fields[parts[0]] = parts[1] }
    }
  }

  subscript(name: String) -> Substring? { fields[name[...]] }
}

// MARK: Demanding

/// The least that an acknowledgement must mean.
public enum DurabilityRequirement: Sendable, Equatable, CustomStringConvertible {
  case none
  case everySecond
  case always
  /// So many replicas, at least 1, have confirmed each payload.
  case replicas(Int)

  public var description: String {
    switch self {
    case .none: "none"
    case .everySecond: "everysec"
    case .always: "always"
    case .replicas(let count): "replicas:\(count)"
    }
  }

  /// What is found instead and what to change, in words; nil where the requirement is met.
  public func shortfall(of found: Durability) -> String? {
    switch self {
    case .none: return nil
    case .everySecond, .always:
      if found.disk.rank >= (self == .always ? Durability.Disk.always : .everySecond).rank { return nil }
      let instead =
        switch found.disk {
        case .memory: "appendonly is no"
        case .unsynced: "appendfsync is no, or no-appendfsync-on-rewrite is yes"
        case .everySecond: "appendfsync is everysec"
        case .always: "appendfsync is always"
        case .unknown(_, let why): "what Redis does can't be told (\(why))"
        }
      return "\(self) is required, and \(instead): set appendonly yes, appendfsync \(self) and "
        + "no-appendfsync-on-rewrite no, and let this user read them with CONFIG GET, or require less"
    case .replicas(let count):
      guard let replicas = found.replicas else {
        return "\(self) is required, and how many replicas there are can't be told: let this user read INFO"
      }
      if replicas >= count { return nil }
      return "\(self) is required, and \(replicas) \(replicas == 1 ? "is" : "are") connected and heard within "
        + "\(Durability.silence) s: start more of them, or require less"
    }
  }

  /// Replicas that have to confirm each batch; nil where none has to.
  var confirmingReplicas: Int? {
    if case .replicas(let count) = self { count } else { nil }
  }
}
