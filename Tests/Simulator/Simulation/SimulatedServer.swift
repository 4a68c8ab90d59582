// A Redis that nodes and publishers talk to: a store, and the moods of its process.

import KeyReplica
import SimulatedStore

final class SimulatedServer {
  /// A store with what it truly holds.
  struct Dataset {
    var store: SimulatedStore
    var holdings: Holdings
  }

  var dataset: Dataset
  /// Earlier states: what a replica that lagged has, or an old file.
  private(set) var earlier: [Dataset] = []

  /// Nobody listens.
  var isDown = false
  /// The process is held until then: connections stay open and nothing answers.
  var stalledUntil: Instant?
  /// How many times longer everything takes.
  var slowness = 1
  /// Reads in a thousand that are answered with an error.
  var failing = 0
  /// It was made a replica: it still answers, but says so.
  var isDemoted = false
  /// At its memory limit: takes no keys, still ends them.
  var isFull = false

  init(_ dataset: Dataset) { self.dataset = dataset }

  func remember() {
    if earlier.count == 12 { earlier.removeFirst() }
    earlier.append(dataset)
  }

  func recover() {
    isDown = false
    stalledUntil = nil
    slowness = 1
    failing = 0
    isDemoted = false
    isFull = false
  }
}
