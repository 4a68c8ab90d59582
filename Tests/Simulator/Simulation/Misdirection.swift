// Followers whose address leads to a wrong store: a mistyped host, or a DNS record that was changed. They make that
// store equal to the source and mark it, as far as their guard allows it. Nobody marks the nodes' own store meanwhile.
//
// All followers of a source go to the wrong store together, because they share an outbox. Two followers that use one
// outbox for two stores would take each other's changes; `follow --outbox` says so. So no session goes on while the
// address changes.

import KeyReplica
import SimulatedStore

extension Simulation {
  /// The server that followers' new sessions reach.
  var followedAddress: Int { misdirected ?? address }

  func misdirectFollowers() {
    guard misdirected == nil else { return }
    if wrongServer == nil || wrongServer == address { addWrongStore() }
    misdirected = wrongServer
    reconnectFollowers()
    agenda.add(
      .calmDown(server: followedAddress, .misdirectedFollower), at: now + .milliseconds(random.within(50...4_000)))
  }

  /// A store of other keys, or a copy of the nodes' own, as test systems have them.
  private func addWrongStore() {
    var dataset = emptyDataset()
    if random.chance(300), server.dataset.store.meta != nil {
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
