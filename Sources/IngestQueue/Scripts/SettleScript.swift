internal import Hiredis
internal import RedisClient

/// Ends a claim; entries that aren't named are acknowledged and removed: settle.lua.
struct SettleScript: ScriptCall {
  static let script = RedisScript(name: "settle", source: LuaScripts.settle)

  let layout: QueueLayout
  let worker: WorkerName
  let slot: Int
  let instance: String
  /// The claim's number.
  let number: Int64
  /// Failed attempts after which an envelope is a dead letter.
  let attempts: Int
  /// How many entries the batch has.
  let count: Int
  /// In the order of the batch.
  let exceptions: [Exception]

  /// An entry of the batch that isn't acknowledged.
  struct Exception {
    let index: Int
    let change: Change
  }

  enum Change {
    /// The entry is removed, together with the record of its failures.
    case clear
    /// To the front of list 0, or of the shorter list of an account.
    case putBack(AccountShuffleShard?)
    /// Behind all others in the shorter list of an account.
    case setAside(AccountShuffleShard)
    case retry(reason: String, delay: Duration)
    case postpone(delay: Duration)
    case dead(reason: String)

    /// The names of the changes in the script.
    enum Name: String, CaseIterable {
      case clear, back, aside, retry, postpone, dead
    }
  }

  enum Reply {
    case settled(dead: Int)
    /// Another instance has the claim; nil if it isn't known which.
    case lost(to: String?)
    case gone
  }

  var keys: [String] {
    [
      layout.claim(worker: worker, slot: slot), layout.later, layout.dead, layout.failures, layout.stats,
      layout.deadBytes, layout.bytes,
    ] + layout.pending + [layout.laterBytes]
  }

  var arguments: [any RedisArgument] {
    var arguments: [any RedisArgument] = [instance, number, "\(worker)", attempts]
    arguments.reserveCapacity(arguments.count + 4 * exceptions.count)
    func append(_ index: Int, _ name: Change.Name, reason: String = "", number: Int64 = 0) {
      arguments += [index, name.rawValue, reason, number] as [any RedisArgument]
    }
    func append(_ index: Int, _ name: Change.Name, _ lists: AccountShuffleShard) {
      append(index, name, reason: "\(lists.second)", number: Int64(lists.first))
    }
    // The last one first: each goes to the end that claims take from, so the first entry must arrive there last.
    for exception in exceptions.reversed() {
      switch exception.change {
      case .clear: append(exception.index, .clear)
      case .putBack(nil): append(exception.index, .back)
      case .putBack(let lists?): append(exception.index, .back, lists)
      case .setAside(let lists): append(exception.index, .aside, lists)
      case .retry(let reason, let delay):
        append(exception.index, .retry, reason: reason, number: delay.milliseconds)
      case .postpone(let delay): append(exception.index, .postpone, number: delay.milliseconds)
      case .dead(let reason): append(exception.index, .dead, reason: reason)
      }
    }
    return arguments
  }

  func read(_ reply: RedisReply) throws -> Reply {
    let (items, expected) = (try reply.array(), "the outcome of settling a claim")
    switch try ClaimAnswer(of: items, expected: expected) {
    case .settled:
      let dead = try items.item(1).integer()
      guard (0...Int64(count)).contains(dead) else {
        throw UnexpectedReply(expected: "how many of the batch are dead letters", came: "the number \(dead)")
      }
      return .settled(dead: Int(dead))
    case .lost:
      let instance = try items.item(1).string()
      return .lost(to: instance.isEmpty ? nil : instance)
    case .gone: return .gone
    case let other: throw other.unexpected(expected)
    }
  }
}
