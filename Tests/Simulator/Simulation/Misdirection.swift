// Followers whose address leads to a wrong store: a mistyped host, or a DNS record that was changed. They make that
// store equal to the source and mark it, as far as their guard allows it. Nobody marks the nodes' own store meanwhile.
//
// One follower goes there alone, or all together. All of them use one outbox, and a follower at another store must not
// take changes that the nodes' own store needs. The wrong store may have the ID of the nodes' own, as a copy has.

import KeyReplica
import SimulatedStore

extension Simulation {
  /// The server that a follower's new sessions reach.
  func address(of follower: SimulatedFollower) -> Int { follower.misdirected ?? address }

  var isAnyoneMisdirected: Bool { followers.contains { $0.misdirected != nil } }

  func misdirectFollowers() {
    guard !isAnyoneMisdirected, let alone = followers.randomElement(using: &random) else { return }
    if wrongServer == nil || wrongServer == address { addWrongStore() }
    guard let wrongServer else { return }
    let areTogether = random.chance(400)
    for follower in followers where areTogether || follower === alone {
      follower.misdirected = wrongServer
      reconnect(follower)
    }
    agenda.add(
      .calmDown(server: wrongServer, .misdirectedFollower), at: now + .milliseconds(random.within(50...4_000)))
    // The application goes on: these are the changes that each of the followers could take from the others.
    guard let source else { return }
    for _ in 0..<random.within(0...4) {
      let number = source.begin([someChange()])
      agenda.add(.commit(number: number), at: now + .milliseconds(random.within(100...2_500)))
    }
  }

  /// All followers' addresses are right again.
  func redirectFollowers() {
    for follower in followers where follower.misdirected != nil {
      follower.misdirected = nil
      reconnect(follower)
    }
  }

  /// If the outbox is tied to another store than the nodes' own, an operator moves it.
  func moveOutbox() {
    guard let source, let tied = source.tied, let store = server.dataset.store.meta?.store, tied != store
    else { return }
    note { "an operator moves the outbox from the store \(tied) to \(store)" }
    source.move(to: store)
  }

  /// A store of other keys, or a copy of the nodes' own, as test systems have them.
  private func addWrongStore() {
    var dataset = emptyDataset()
    // Most of the other stores don't pass the followers' guard.
    if random.chance(600), server.dataset.store.meta != nil {
      dataset = server.dataset
      dataset.lease = nil
      // If the nodes' address leads there later, their store's history has two continuations.
      rewound = true
    }
    let other = SimulatedServer(
      dataset, replicas: server.replicas, declared: server.replicas, clockError: someClockError())
    servers.append(other)
    wrongServer = servers.count - 1
    guard dataset.store.meta == nil else { return }
    let edits = Self.edits(to: someRows())
    change(at: other) { store throws(StoreRefusal) in
      try store.create(epoch: self.newEpoch())
      _ = try store.apply(edits, now: self.seconds)
      _ = try store.seal(mayBeEmpty: true)
    }
  }

  /// Changes a store that isn't the nodes' own.
  func change(
    at other: SimulatedServer, _ body: (inout SimulatedStore) throws(StoreRefusal) -> Void
  ) {
    let before = other.dataset.store.meta?.version ?? 0
    do throws(StoreRefusal) {
      try body(&other.dataset.store)
    } catch {
      note { "the wrong store refuses its publisher: \(error)" }
    }
    for change in other.dataset.store.changes(after: before) { other.dataset.note(change) }
    if let meta = other.dataset.store.meta { storeOfEpoch[meta.epoch] = meta.store }
  }
}
