// Lists of the source's keys that an operator applies with `sync`, beside the followers. A list may lack rows, because
// the export died, or may have been exported long before it is applied. What stops such a list is what stops it in
// `key-publisher sync`: the number of records (--expect), the guard (--max-revoked), the lease, and the version that
// the store had when the list was begun. A truncated list that passes all of them ends keys. That is no statement of
// the source, so a node that proves refusals by the source must not refuse these keys.

import KeyReplica
import SimulatedStore

/// A list that is being applied.
final class SimulatedList {
  enum Step {
    case read
    /// Carries out some edits, beginning with this key.
    case apply(from: Int)
  }

  let flaw: FaultKind
  /// The store when the list was begun.
  let epoch: String
  let version: UInt64
  let holdings: Holdings
  let rewinds: Int
  /// The publisher waits for other lists until then.
  let waitsUntil: Instant
  /// What the list says.
  var rows: Holdings = []
  var lease: Int?

  init(
    _ flaw: FaultKind, _ store: SimulatedStore.Meta, _ holdings: Holdings, rewinds: Int, waitsUntil: Instant
  ) {
    (self.flaw, epoch, version) = (flaw, store.epoch, store.version)
    (self.holdings, self.rewinds, self.waitsUntil) = (holdings, rewinds, waitsUntil)
  }
}

extension Simulation {
  private static let listWait = Duration.seconds(5)
  /// Keys whose edits are made in one step.
  private static let listBatch = 8

  /// One of the flaws that lists have in this run; mostly nil.
  func someListFlaw(oneIn occasions: Int) -> FaultKind? {
    let flaws = [FaultKind.truncatedList, .staleList].filter { mix[$0] > 0 }
    return faulty && !flaws.isEmpty && random.below(occasions) == 0 ? random.pick(flaws) : nil
  }

  /// Begins a list with a flaw, at the version that the store has now.
  func beginList(_ flaw: FaultKind) {
    guard let meta = server.dataset.store.meta, meta.rebuildingTo == nil else { return }
    let list = SimulatedList(
      flaw, meta, server.dataset.holdings, rewinds: rewinds, waitsUntil: now + Self.listWait)
    lists.append(list)
    next(lists.count - 1, .read, after: .microseconds(random.within(100...20_000)))
  }

  private func next(_ number: Int, _ step: SimulatedList.Step, after pause: Duration) {
    agenda.add(.list(number: number, step), at: now + pause)
  }

  func carryOut(_ number: Int, _ step: SimulatedList.Step) {
    switch step {
    case .read: readList(number)
    case .apply(let first): applyList(number, from: first)
    }
  }

  private func readList(_ number: Int) {
    guard let source else { return }
    if let until = source.awayUntil, until > now { return stop(number, "the export fails") }
    let list = lists[number]
    list.rows = source.rows
    var pause = random.within(1...50)
    if list.flaw == .truncatedList {
      let listed = list.rows.indices.filter { list.rows[$0] != .none }
      guard !listed.isEmpty else { return }
      let lost = random.within(1...(random.chance(600) ? min(2, listed.count) : listed.count))
      for key in listed.suffix(lost) { list.rows[key] = .none }
      if random.chance(250) {
        count(.truncatedList)
        return stop(number, "it has \(listed.count - lost) records, expected \(listed.count)")
      }
    } else {
      pause = random.within(200...4_000)
    }
    next(number, .apply(from: 0), after: .milliseconds(pause))
  }

  private func stop(_ number: Int, _ why: String) {
    note { "list \(number) isn't applied: \(why)" }
    summary.listsStopped += 1
  }

  private func applyList(_ number: Int, from first: Int) {
    let list = lists[number]
    let server = server
    if server.isDown || server.isDemoted || server.isFull || server.stalledUntil.map({ $0 > now }) ?? false { return }
    if first == 0 {
      guard takeLease(for: list) else {
        if now >= list.waitsUntil { return stop(number, "another list is being applied") }
        return next(number, .apply(from: 0), after: .milliseconds(random.within(1...40)))
      }
      count(list.flaw)
      guard server.dataset.store.meta?.epoch == list.epoch else {
        release(list)
        return stop(number, "the store has another history")
      }
      let held = server.dataset.store.holdings()
      guard isWithinGuard(list.rows, held, percent: random.pick([5, 20, 50, 100])) else {
        release(list)
        return stop(number, "it would take too many keys out of service")
      }
      summary.listsApplied += 1
    }
    guard let lease = server.dataset.lease, lease.number == list.lease, lease.until > now else {
      return note { "the lease of list \(number) has ended" }
    }
    server.dataset.lease?.until = now + Self.leaseTime
    let keys = first..<min(first + Self.listBatch, SimulatedKeys.all.count)
    let held = server.dataset.store.holdings()
    let edits = keys.compactMap { edit(of: $0, to: list.rows[$0], from: held[$0], allowing: [.end, .move]) }
    let before = server.dataset.holdings
    change { store throws(StoreRefusal) in
      let outcome = try store.apply(edits, basedOn: list.version, now: self.seconds)
      self.note {
        "list \(number), as of version \(list.version), changes \(outcome.changed) keys; the store is at version "
          + "\(outcome.version)"
      }
    }
    checkAge(of: list, keys, before: before)
    // The publisher is killed.
    if keys.upperBound == SimulatedKeys.all.count || random.chance(50) {
      if keys.upperBound == SimulatedKeys.all.count { release(list) }
      return
    }
    next(number, .apply(from: keys.upperBound), after: .microseconds(random.within(100...20_000)))
  }

  private func takeLease(for list: SimulatedList) -> Bool {
    guard let lease = takeLease(of: server, succeeding: nil) else { return false }
    list.lease = lease
    return true
  }

  private func release(_ list: SimulatedList) {
    if server.dataset.lease?.number == list.lease { server.dataset.lease = nil }
  }

  /// What changed in the store after the list was begun stays.
  private func checkAge(of list: SimulatedList, _ keys: Range<Int>, before: Holdings) {
    // A store that went back has former versions for other changes.
    guard rewinds == list.rewinds, !damaged else { return }
    for number in keys where before[number] != list.holdings[number] {
      // A key that was purged is a new key.
      guard before[number] != .none, server.dataset.holdings[number] != before[number] else { continue }
      fail(
        "a list changed key \(number) from \(before[number]) to \(server.dataset.holdings[number]), although the store had "
          + "changed it after version \(list.version), at which the list was begun")
    }
  }

  /// Whether making the store equal to these rows takes at most this share of its active keys out of service.
  /// - Parameter waiting: Keys that don't count, because their changes are in the outbox.
  func isWithinGuard(_ rows: Holdings, _ held: Holdings, waiting: Set<Int> = [], percent: Int) -> Bool {
    let counted = held.indices.filter { number in
      guard !waiting.contains(number) else { return false }
      let (row, held) = (rows[number], held[number])
      return held.isActive && (!row.isActive || row.account != held.account)
        || held.state == .suspended && row == .none
    }
    return percent >= 100 || counted.count * 100 <= held.count(where: \.isActive) * percent
  }
}
