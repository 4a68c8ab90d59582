// Requests of a batch that wait to be sent, by turns of the accounts whose payloads they are. So an account whose payloads the receiver is slow with, or
// dislikes, has its turn like any other, and the first payload of each account is sent before the second of any.

struct HTTPTurns {
  /// Places in the batch.
  typealias Request = [Int]

  /// Of each account, the last one first.
  private var requests: [String: [Request]] = [:]
  /// Accounts that have any, in the order of their turns.
  private var order: [String] = []

  var isEmpty: Bool { order.isEmpty }

  /// Behind what the account has already.
  mutating func add(_ new: [Request], of account: String) {
    guard !new.isEmpty else { return }
    if requests[account] == nil { order.append(account) }
    requests[account] = new.reversed() + (requests[account] ?? [])
  }

  /// - Parameter isPreferred: Whether an account may have the turn before others. Where none is preferred the next one has it.
  mutating func next(_ isPreferred: (String) -> Bool) -> (request: Request, account: String)? {
    guard let place = order.firstIndex(where: isPreferred) ?? order.indices.first else { return nil }
    let account = order.remove(at: place)
    guard var rest = requests.removeValue(forKey: account), let request = rest.popLast() else { return nil }
    if !rest.isEmpty {
      requests[account] = rest
      order.append(account)
    }
    return (request, account)
  }

  func count(of account: String) -> Int { requests[account]?.count ?? 0 }

  var accounts: [String] { order }

  /// Takes out what an account has left.
  mutating func remove(_ account: String) -> [Request] {
    order.removeAll { $0 == account }
    return requests.removeValue(forKey: account) ?? []
  }
}
