// The future events of a run, ordered by time. Of two events at the same time, the one that was added first is first.
// So a repeated run is identical.

import HeapModule
import KeyReplica

/// One thing that is going to happen.
enum Happening {
  case wake(node: Int)
  case world
  case connected(node: Int, Replica.ConnectionID)
  case connectTimedOut(node: Int, Replica.ConnectionID)
  case execute(node: Int, Replica.ConnectionID, feed: Bool)
  case deliver(node: Int, Replica.ConnectionID, feed: Bool)
  case deadline(node: Int, Replica.ConnectionID, feed: Bool)
  /// An event that comes when nobody expects it any more; its number in `Simulation.strays`.
  case stray(node: Int, incarnation: Int, number: Int)
  case restart(node: Int)
  case publish(number: Int)
  /// A transaction of the source that commits late.
  case commit(number: Int)
  case follow(follower: Int, session: Int, SimulatedFollower.Step)
  case revive(follower: Int)
  case list(number: Int, SimulatedList.Step)
  case rebuild(server: Int, bucket: Int)
  case calmDown(server: Int, FaultKind)
}

struct Agenda {
  private struct Entry: Comparable {
    let at: Instant
    let order: Int
    let what: Happening

    static func == (left: Entry, right: Entry) -> Bool { left.order == right.order }
    static func < (left: Entry, right: Entry) -> Bool {
      left.at == right.at ? left.order < right.order : left.at < right.at
    }
  }

  private var heap = Heap<Entry>()
  private var order = 0

  mutating func add(_ what: Happening, at moment: Instant) {
    order += 1
    heap.insert(Entry(at: moment, order: order, what: what))
  }

  mutating func next() -> (at: Instant, what: Happening)? { heap.popMin().map { ($0.at, $0.what) } }

  var nextMoment: Instant? { heap.min?.at }
}
