// Limits the bytes of bodies that one event loop holds at once, from their first byte until their answer, and the bytes
// of answers that grow with the request. Each event loop has its share of the node's limit, so that counting needs no
// other thread.
//
// Bytes count as they arrive. Rejected: counting announced bytes. That would need no second check, but a client with
// one active key could use the whole limit with a few heads, until the body deadline.
//
// One limit for all isn't enough, because a single client could use all of it. So there are three rules.
//
// 1. Bytes whose key isn't known yet have a small budget of their own. Anybody can send them.
// 2. An account, and a client's network, may each hold no more than a share.
// 3. A share counts bytes that are held for long: bodies that arrive in several reads, and answers that wait for a slow
//    client. A body that arrives in one read is released a moment later, and counting it for its account would cost
//    each push two look-ups in a table. Such bodies are counted too once a sixteenth of the budget is used. So one
//    account can hold at most this sixteenth and its share, which is less than the producer's limit.

internal import ClientAddress

/// Bytes of a budget that are reserved for one request, or for its answer. They are released by ``release()`` or when
/// this value is destroyed.
struct ReservedBytes: ~Copyable {
  private let budget: ByteBudget
  /// The client's network, for its share; nil if it isn't known, or is a proxy's.
  let network: IPAddress?
  /// The account of the key; nil until the key is known.
  private(set) var account: String?
  private(set) var count = 0
  /// The part of `count` that counts against the shares of the account and the network.
  private var shared = 0

  init(of budget: ByteBudget, network: IPAddress? = nil, account: String? = nil) {
    self.budget = budget
    self.network = network
    self.account = account
  }

  deinit { budget.giveBack(count, shared: shared, account, network) }

  /// The limit that this number of further bytes would exceed now; nil if none.
  func shortage(of bytes: Int) -> ByteBudget.Shortage? { budget.shortage(of: bytes, account, network) }

  /// Reserves this number of further bytes, unless they exceed a limit.
  /// - Parameter isBrief: Whether the bytes will be released in a moment: a whole body in one read.
  mutating func take(_ bytes: Int, isBrief: Bool = false) throws(ByteBudget.Shortage) {
    if isBrief, account != nil, budget.takeUncounted(bytes) {
      count += bytes
      return
    }
    try budget.take(bytes, account, network)
    count += bytes
    shared += bytes
  }

  /// Sets the account when the key is known. From now on the bytes reserved before count against this account.
  mutating func assign(to account: String) throws(ByteBudget.Shortage) {
    if count > 0 {
      try budget.take(count, account, network)
      budget.giveBack(count, shared: shared, self.account, network)
      shared = count
    }
    self.account = account
  }

  mutating func release() {
    budget.giveBack(count, shared: shared, account, network)
    count = 0
    shared = 0
  }
}

/// The bytes that an event loop holds. Used on that event loop only.
final class ByteBudget {
  /// Maximum bytes in all, and for each account and network.
  struct Limits: Sendable, Equatable {
    var total: Int
    /// Maximum bytes of one account.
    var account: Int
    /// Maximum bytes of one client's network.
    var network: Int
    /// Up to this sum, whole bodies of one read count only in total.
    var uncounted: Int
    /// Maximum bytes whose key isn't known yet. They have this limit of their own and don't count in `total`.
    var keyless: Int
    /// The maximum of these bytes for one network.
    var keylessNetwork: Int

    /// - Parameters:
    ///   - total: At least two bodies.
    ///   - body: The largest accepted body, which must fit into each share.
    init(total: Int, body: Int) {
      self.total = max(total, 2 * body)
      account = max(body, self.total / 8)
      network = max(body, self.total / 4)
      uncounted = self.total / 16
      // A key in a body is in its first line or first 16 KiB: one read is enough for them.
      keyless = max(1 << 20, self.total / 16)
      keylessNetwork = keyless / 8
    }
  }

  /// The limit that is reached.
  enum Shortage: Error, Equatable {
    case total, account, network, keyless
  }

  let limits: Limits
  private(set) var used = 0
  /// Bytes of bodies whose key isn't known yet.
  private(set) var keylessUsed = 0
  private var accounts: [String: Int] = [:]
  private var networks: [IPAddress: Int] = [:]
  private var keylessNetworks: [IPAddress: Int] = [:]

  init(_ limits: Limits) { self.limits = limits }

  // MARK: For reservations

  fileprivate func shortage(of bytes: Int, _ account: String?, _ network: IPAddress?) -> Shortage? {
    guard let account else {
      if let network, bytes > limits.keylessNetwork - keylessNetworks[network, default: 0] { return .keyless }
      return bytes > limits.keyless - keylessUsed ? .keyless : nil
    }
    if bytes > limits.total - used { return .total }
    if bytes > limits.account - accounts[account, default: 0] { return .account }
    if let network, bytes > limits.network - networks[network, default: 0] { return .network }
    return nil
  }

  /// - Returns: Whether so few bytes are used that no share need be counted.
  fileprivate func takeUncounted(_ bytes: Int) -> Bool {
    guard bytes <= limits.uncounted - used else { return false }
    used += bytes
    return true
  }

  fileprivate func take(_ bytes: Int, _ account: String?, _ network: IPAddress?) throws(Shortage) {
    if let shortage = shortage(of: bytes, account, network) { throw shortage }
    if account == nil { keylessUsed += bytes } else { used += bytes }
    count(bytes, account, network)
  }

  fileprivate func giveBack(_ bytes: Int, shared: Int, _ account: String?, _ network: IPAddress?) {
    guard bytes > 0 else { return }
    if account == nil { keylessUsed -= bytes } else { used -= bytes }
    precondition(used >= 0 && keylessUsed >= 0, "more bytes were given back than were taken")
    count(-shared, account, network)
  }

  private func count(_ bytes: Int, _ account: String?, _ network: IPAddress?) {
    guard bytes != 0 else { return }
    if let account { accounts.count(bytes, for: account) }
    guard let network else { return }
    if account == nil { keylessNetworks.count(bytes, for: network) } else { networks.count(bytes, for: network) }
  }
}

extension Dictionary where Value == Int {
  /// Entries with no bytes are removed: over time there may be any number of them.
  fileprivate mutating func count(_ more: Int, for key: Key) {
    let count = self[key, default: 0] + more
    self[key] = count == 0 ? nil : count
  }
}
