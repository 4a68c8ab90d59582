// The waiting requests of a batch. Accounts take turns: if the receiver delays or rejects an account's payloads, the
// account has the same turns as others. The first payload of each account is sent before any account's second one.

struct HTTPTurns {
  /// Indices of the payloads in the batch.
  typealias Request = [Int]

  /// By account, in reverse order: the next one is last.
  private var requests: [String: [Request]] = [:]
  /// Accounts with requests, in the order of their turns.
  private var order: [String] = []

  var isEmpty: Bool { order.isEmpty }

  /// Adds requests behind the account's existing ones.
  mutating func add(_ new: [Request], of account: String) {
    guard !new.isEmpty else { return }
    if requests[account] == nil { order.append(account) }
    requests[account] = new.reversed() + (requests[account] ?? [])
  }

  /// - Parameter isPreferred: Whether an account may be next before others. If none is preferred, the next account by
  ///   turns is chosen.
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

  /// Removes an account's remaining requests.
  mutating func remove(_ account: String) -> [Request] {
    order.removeAll { $0 == account }
    return requests.removeValue(forKey: account) ?? []
  }
}
