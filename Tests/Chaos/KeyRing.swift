// The keys that clients use, and the allowed answers for each. While a change is in progress, or its outcome is
// unknown, more answers are allowed. As soon as the publisher has answered, they no longer are.

import Synchronization

/// A key and whose it is.
struct APIKey: Sendable, Hashable {
  let secret: String
  let account: String
}

/// All keys.
final class KeyRing: Sendable {
  enum Standing: Sendable, Equatable {
    case active
    /// Suspended or revoked, and when the publisher said so.
    case blocked(since: ContinuousClock.Instant)
    /// A change is under way, or nobody knows whether it was made.
    case unsure
    /// Was never in the store.
    case unknown
  }

  private struct State {
    var standings: [APIKey: Standing] = [:]
    var active: [APIKey] = []
    var blocked: [APIKey] = []
  }

  private let state = Mutex(State())

  func set(_ key: APIKey, _ standing: Standing) {
    state.withLock { state in
      let former = state.standings.updateValue(standing, forKey: key)
      if former == .active { state.active.removeAll { $0 == key } }
      if case .blocked = former { state.blocked.removeAll { $0 == key } }
      switch standing {
      case .active: state.active.append(key)
      case .blocked: state.blocked.append(key)
      case .unsure, .unknown: break
      }
    }
  }

  func standing(of key: APIKey) -> Standing { state.withLock { $0.standings[key] ?? .unknown } }

  /// Any active key.
  func active(_ chance: inout Chance) -> APIKey { pick(&chance, \.active) }
  /// Any key that is suspended or revoked.
  func blocked(_ chance: inout Chance) -> APIKey { pick(&chance, \.blocked) }

  private func pick(_ chance: inout Chance, _ keys: KeyPath<State, [APIKey]>) -> APIKey {
    let keys = state.withLock { $0[keyPath: keys] }
    return keys[chance.number(in: 0...keys.count - 1)]
  }

  /// What is wrong with an answer; nil where nothing is.
  /// - Parameters:
  ///   - before: How the key stood when the request was sent. It must allow the answer, or the key must have changed since.
  ///   - staleness: How far the node may be behind the publisher.
  func objection(to status: Int, for key: APIKey, before: Standing, staleness: Duration) -> String? {
    // Prove nothing about the key, and are allowed always. 504 is for a payload without Idempotency-Key that may be
    // in the queue.
    if [503, 504].contains(status) { return nil }
    let after = standing(of: key)
    guard before == after else {
      return [202, 403].contains(status) ? nil : "\(status) for a key that was being changed"
    }
    switch before {
    case .active: return status == 202 ? nil : "\(status) for an active key"
    case .unknown: return status == 401 ? nil : "\(status) for a key that nobody has"
    case .unsure: return [202, 403].contains(status) ? nil : "\(status) for a key that may have been changed"
    case .blocked(let since):
      if status == 403 { return nil }
      if status == 202, .now - since <= staleness { return nil }
      return "\(status) for a key that is suspended or revoked"
    }
  }
}
