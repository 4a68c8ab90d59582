internal import Hiredis
internal import RedisClient

/// Moves envelopes from the pending lists into a worker's slot: claim.lua.
struct ClaimScript: ScriptCall {
  static let script = RedisScript(name: "claim", source: LuaScripts.claim)

  let layout: QueueLayout
  let worker: WorkerName
  let slot: Int
  let instance: String
  /// The claim's number, unique within one start of a worker.
  let number: Int64
  let lease: Duration
  /// Maximum envelopes and bytes in the claim.
  let envelopes: Int
  let bytes: Int
  /// A larger envelope becomes a dead letter.
  let largestEnvelope: Int
  /// Maximum suspects; 0 for none.
  let suspects: Int
  /// Deaths after which an envelope is a dead letter.
  let deaths: Int
  /// Whether this instance begins and takes over the worker's name.
  let begins: Bool
  /// Whether a single envelope in the slot becomes a dead letter.
  let givesUp: Bool
  /// Maximum envelopes from each of the accounts' own lists.
  let ownLimits: [Int]
  /// Accounts whose suspects are passed over, and those whose suspects are claimed without other accounts'.
  let passedOver: Set<String>
  let apart: Set<String>

  enum Reply {
    case claimed(number: Int64, [Entry])
    /// The slot has another instance's claim.
    case held(instance: String, leaseUntil: Int64)
    case supplanted(by: String)
    /// No suspect was found but those that were passed over.
    case passedOver(Int, waiting: Int)
    case empty
  }

  struct Entry {
    let bytes: [UInt8]
    /// Earlier failures: failed attempts, and workers that died while they had it.
    let failures: Int
    /// The number of the list that it was claimed from. Also 0 if the claim is handed out again.
    let list: Int
  }

  var keys: [String] {
    [
      layout.claim(worker: worker, slot: slot), layout.workers, layout.failures, layout.later, layout.dead,
      layout.deadBytes, layout.bytes,
    ] + layout.pending + [layout.stats, layout.laterBytes]
  }

  var arguments: [any RedisArgument] {
    var turns: [any RedisArgument] = [passedOver.count]
    for account in passedOver { turns.append(account) }
    for account in apart.subtracting(passedOver) { turns.append(account) }
    return limits + turns
  }

  private var limits: [any RedisArgument] {
    [
      "\(worker)", instance, number, lease.milliseconds, envelopes, bytes, largestEnvelope, suspects, deaths,
      begins ? 1 : 0, givesUp ? 1 : 0, AccountShuffleShard.largePayload,
    ] + ownLimits
  }

  func read(_ reply: RedisReply) throws -> Reply {
    let (items, expected) = (try reply.array(), "the outcome of a claim")
    switch try ClaimAnswer(of: items, expected: expected) {
    case .claimed:
      let (failures, lists) = (try items.item(4).array(), try items.item(5).array())
      let entries = try items.item(3).array().enumerated().map { index, item in
        Entry(
          bytes: try item.bytes(), failures: failures.isEmpty ? 0 : Int(try failures.item(index).integer()),
          list: lists.isEmpty ? 0 : Int(try lists.item(index).integer()))
      }
      return .claimed(number: try items.item(1).integer(), entries)
    case .held: return .held(instance: try items.item(1).string(), leaseUntil: try items.item(2).integer())
    case .supplanted: return .supplanted(by: try items.item(1).string())
    case .passed:
      return .passedOver(Int(try items.item(1).integer()), waiting: Int(try items.item(2).integer()))
    case .empty: return .empty
    case let other: throw other.unexpected(expected)
    }
  }
}
