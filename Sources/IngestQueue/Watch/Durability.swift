// The durability of an acknowledgement with a Redis's settings, and the minimum that an operator may require. It is
// read from Redis itself, so that the node reports the actual state and not a configured one.
//
// An unknown setting is reported as unknown, and meets no requirement. If CONFIG is forbidden, INFO still shows whether
// there is an append-only file, but not how often it is synced.
//
// A Redis that evicts any key isn't durable, whatever its disk does. The policies that evict only keys with an expiry
// don't affect Sluice's keys, which have none.

internal import Hiredis
internal import RedisClient

/// What Redis does for a write before and after it answers.
public struct Durability: Sendable, Equatable, CustomStringConvertible {
  public enum Disk: Sendable, Equatable {
    /// In memory only, except for occasional snapshots.
    case memory
    /// In the append-only file, without regular fsync, or without fsync while the file is rewritten.
    case unsynced
    /// In the append-only file, with an fsync each second.
    case everySecond
    /// In the append-only file, with an fsync before the reply.
    case always
    /// Unknown, for this reason. Whether there is an append-only file may be known.
    case unknown(appendsToFile: Bool?, why: String)

    /// From the worst to the best.
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
  /// Connected replicas that acknowledged something within the last seconds; nil if unknown.
  public var replicas: Int?
  /// The `maxmemory-policy`; nil if unknown.
  public var evictionPolicy: String?

  /// Redis's error for WAIT; nil if WAIT can be used.
  var waitDenial: String?

  public init(disk: Disk, replicas: Int?, evictionPolicy: String? = "noeviction") {
    self.disk = disk
    self.replicas = replicas
    self.evictionPolicy = evictionPolicy
  }

  /// Whether a Redis with this `maxmemory-policy` drops keys that have no expiry when its memory is full.
  public static func evictsAnyKey(_ policy: String) -> Bool { policy.hasPrefix("allkeys-") }

  /// The policy that lets Redis drop payloads; nil if it has none, or if that is unknown.
  fileprivate var harmfulPolicy: String? { evictionPolicy.flatMap { Self.evictsAnyKey($0) ? $0 : nil } }

  /// As text, for the status.
  public var description: String {
    let disk =
      switch disk {
      case .memory: "in memory only"
      case .unsynced: "append-only file without regular fsync"
      case .everySecond: "fsync each second"
      case .always: "fsync before each answer"
      case .unknown(true?, _): "append-only file, fsync policy unknown"
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
    return harmfulPolicy.map { "\(safety), but Redis evicts keys when full (\($0)): payloads can be lost" } ?? safety
  }

  /// Whether this is less durable than the other.
  public func isWorse(than other: Durability) -> Bool {
    (harmfulPolicy == nil ? 1 : 0, disk.rank, replicas ?? -1)
      < (other.harmfulPolicy == nil ? 1 : 0, other.disk.rank, other.replicas ?? -1)
  }
}

// MARK: Reading

extension Durability {
  /// The commands, sent in one write.
  static let questions = [
    RedisCommand(
      "CONFIG",
      arguments: ["GET", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"]
        + ServerPayloadLimit.settings),
    RedisCommand("INFO", "persistence", "replication", "memory"),
    // A WAIT for no replica, only to check that WAIT is permitted. Otherwise the first refusal would come after a
    // payload is already in the queue.
    RedisCommand("WAIT", 0, 0),
  ]

  /// Maximum seconds since a replica's last acknowledgement. A healthy replica acknowledges each second. Redis itself
  /// lists a silent replica for a minute.
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
      // While the file is rewritten nothing is synced, and a rewrite may take minutes.
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
      // A replica with port 0 is a program that copies the data set. It can't be promoted.
      guard replica["state"] == "online", replica["port"] != "0" else { return false }
      return replica["lag"].flatMap { Int($0) }.map { (0...silence).contains($0) } ?? false
    }
  }
}

// MARK: Requirements

/// The least durability that an acknowledgement requires.
public enum DurabilityRequirement: Sendable, Equatable, CustomStringConvertible {
  case none
  case everySecond
  case always
  /// At least this number of replicas (1 or more) has confirmed each payload.
  case replicas(Int)

  public var description: String {
    switch self {
    case .none: "none"
    case .everySecond: "everysec"
    case .always: "always"
    case .replicas(let count): "replicas:\(count)"
    }
  }

  /// The actual state and the setting to change, as text; nil if the requirement is met.
  public func shortfall(of found: Durability) -> String? {
    if self != .none, let policy = found.harmfulPolicy {
      return "--require-durability \(self) isn't met: maxmemory-policy is \(policy), so Redis drops payloads when its "
        + "memory is full. Set maxmemory-policy noeviction, or --require-durability none"
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
        case .unknown(_, let why): "Redis's fsync settings can't be read (\(why))"
        }
      return "--require-durability \(self) isn't met: \(instead). Set appendonly yes, appendfsync \(self) and "
        + "no-appendfsync-on-rewrite no, and allow CONFIG GET for this user; or lower --require-durability"
    case .replicas(let count):
      if let denial = found.waitDenial {
        return
          "--require-durability \(self) isn't met: WAIT can't be used (\(denial)). Allow WAIT for this Redis user, "
          + "or lower --require-durability"
      }
      guard let replicas = found.replicas else {
        return
          "--require-durability \(self) isn't met: the number of replicas is unknown. Allow INFO for this Redis user"
      }
      if replicas >= count { return nil }
      return "--require-durability \(self) isn't met: only \(replicas) \(replicas == 1 ? "replica" : "replicas") "
        + "acknowledged data in the last \(Durability.silence) s. Start more replicas, or lower --require-durability"
    }
  }

  /// Replicas that have to confirm each batch; nil for none.
  var confirmingReplicas: Int? {
    if case .replicas(let count) = self { count } else { nil }
  }
}
