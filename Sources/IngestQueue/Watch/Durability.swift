// What an acknowledgement is worth with a Redis as it is set up, and what an operator may demand of it. Read from Redis itself, so
// that the node says what is and not what somebody once configured.
//
// What isn't known is said to be unknown, and doesn't meet any demand: where CONFIG is forbidden, INFO still tells whether there is
// an append-only file, and nothing tells how often it is synced.
//
// A Redis that evicts any key keeps nothing, whatever its disk does. The policies that evict only keys with an expiry
// leave Sluice's alone, which have none.

internal import Hiredis
internal import RedisClient

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
  /// The `maxmemory-policy`; nil where it can't be told.
  public var evictionPolicy: String?

  /// Why WAIT can't be used, in Redis's words; nil where it can.
  var waitDenial: String?

  public init(disk: Disk, replicas: Int?, evictionPolicy: String? = "noeviction") {
    self.disk = disk
    self.replicas = replicas
    self.evictionPolicy = evictionPolicy
  }

  /// Whether a Redis with this `maxmemory-policy` drops keys that have no expiry when its memory is full.
  public static func evictsAnyKey(_ policy: String) -> Bool { policy.hasPrefix("allkeys-") }

  /// The policy that lets Redis drop payloads; nil where it has none, or that can't be told.
  fileprivate var harmfulPolicy: String? { evictionPolicy.flatMap { Self.evictsAnyKey($0) ? $0 : nil } }

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
    let safety =
      switch replicas {
      case nil: "\(disk), replicas unknown"
      case 0?: disk
      case 1?: "\(disk), 1 replica"
      case let count?: "\(disk), \(count) replicas"
      }
    return harmfulPolicy.map { "lost when Redis is full, since it evicts keys (\($0)); \(safety)" } ?? safety
  }

  /// Whether less can be relied on than with the other.
  public func isWorse(than other: Durability) -> Bool {
    (harmfulPolicy == nil ? 1 : 0, disk.rank, replicas ?? -1)
      < (other.harmfulPolicy == nil ? 1 : 0, other.disk.rank, other.replicas ?? -1)
  }
}

// MARK: Reading

extension Durability {
  /// What is asked, in one write.
  static let questions = [
    RedisCommand(
      "CONFIG",
      arguments: ["GET", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"]
        + ServerPayloadLimit.settings),
    RedisCommand("INFO", "persistence", "replication", "memory"),
    // For nobody, to see whether it may be used: without it a payload would be in the queue before that shows.
    RedisCommand("WAIT", 0, 0),
  ]

  /// How long ago a replica may have been heard to count, in seconds; a sound one is heard each second. Redis itself keeps one that
  /// is silent for a minute.
  static let silence = 5

  /// - Parameter answers: To ``questions``, in their order.
  init(answers: [RedisReply]) {
    precondition(answers.count == Self.questions.count)
    let settings = Result { try Self.settings(answers[0]) }
    let info = InfoFields(answers[1])
    disk = Self.disk(settings, info)
    replicas = info.flatMap(Self.replicas)
    evictionPolicy = (try? settings.get())?["maxmemory-policy"] ?? info?["maxmemory_policy"].map(String.init)
    if case .error(let error) = answers[2] { waitDenial = error.message }
  }

  static func settings(_ reply: RedisReply) throws -> [String: String] {
    let words = try reply.array().map { try $0.string() }
    return Dictionary(
      stride(from: 0, to: words.count - 1, by: 2).map { (words[$0], words[$0 + 1]) }, uniquingKeysWith: { $1 })
  }

  private static func disk(_ settings: Result<[String: String], any Error>, _ info: InfoFields?) -> Disk {
    let appends = info?["aof_enabled"].map { $0 == "1" }
    let values: [String: String]
    do { values = try settings.get() } catch {
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

  private static func replicas(_ info: InfoFields) -> Int? {
    info.replicas?.count { replica in
      // At port 0 it's a program that copies the data set, and keeps nothing that could be promoted.
      guard replica["state"] == "online", replica["port"] != "0" else { return false }
      return replica["lag"].flatMap { Int($0) }.map { (0...silence).contains($0) } ?? false
    }
  }
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
    if self != .none, let policy = found.harmfulPolicy {
      return "\(self) is required, and maxmemory-policy is \(policy), by which Redis drops payloads when its memory "
        + "is full: set maxmemory-policy noeviction, or require nothing"
    }
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
      if let denial = found.waitDenial {
        return "\(self) is required, and WAIT can't be used (\(denial)): let Redis's user run it, or require less"
      }
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
