// A Redis that nodes and publishers talk to: a store, and the state of its process.

import KeyReplica
import SimulatedStore

/// A command that a node asks with, and that a server may deny it.
enum DeniedCommand: CaseIterable {
  case role, info, wait, time
}

final class SimulatedServer {
  /// A store with what it truly holds.
  struct Dataset {
    var store: SimulatedStore
    var holdings: Holdings
    /// Which follower or list may write, and until when. It is a key in Redis, so it is restored and replicated with
    /// the rest.
    var lease: (number: Int, until: Instant)?

    /// What a change made of its key.
    mutating func note(_ change: Change) {
      switch change.effect {
      case .put(let key, let record, _, _): holdings[SimulatedKeys.numbers[key]!] = Holding(record: record)
      case .purge(let key, _, _): holdings[SimulatedKeys.numbers[key]!] = .none
      case .seal, .confirm, .undecodable: break
      }
    }
  }

  var dataset: Dataset
  /// Earlier states: what a replica that lagged has, or an old file.
  private(set) var earlier: [Dataset] = []

  /// Nobody listens.
  var isDown = false
  /// The process is held until then: connections stay open and nothing answers.
  var stalledUntil: Instant?
  /// How far its clock has jumped, besides its error.
  var clockOffset = Duration.zero
  /// How many times longer everything takes.
  var slowness = 1
  /// Reads in a thousand that are answered with an error.
  var failing = 0
  /// It was made a replica: it still answers, but says so.
  var isDemoted = false
  /// Another has taken its place; it goes on answering, and calls itself primary.
  var isDeposed = false
  /// Its replicas, which could take its place, and how many the publisher declared; nil if it never did.
  let replicas: Int
  var declared: Int?
  /// How many a node has written down.
  var recorded: Int
  /// Whether it was a replica before.
  let hasFollowed: Bool
  /// Commands that nodes may not use here.
  var denied: Set<DeniedCommand> = []
  /// They don't follow it: they are down, or busy with another.
  var replicasAreAway = false
  /// How many servers bear it out.
  var confirming: Int { isDeposed || replicasAreAway ? 0 : replicas }
  /// Whether its replicas can't be known.
  var hidesReplicas: Bool { denied.isSuperset(of: [.role, .info]) }
  private var signs: ReplicaSigns {
    ReplicaSigns(
      following: hidesReplicas ? nil : confirming, recorded: recorded,
      hasFollowed: denied.contains(.info) ? nil : hasFollowed, isWatched: false)
  }

  /// What the others say of it.
  /// - Parameter count: How many of them are to bear it out.
  func fence(by count: Int) -> Fence {
    guard count > 0, hidesReplicas || denied.contains(.wait) else {
      return Fence(confirmations: min(count, confirming), signs: signs)
    }
    return Fence(confirmations: 0, signs: signs, failure: "a command is denied")
  }

  /// At its memory limit: takes no keys, still ends them.
  var isFull = false

  /// How far its clock is from the true time, in microseconds.
  private let clockError: Int64
  /// When the source was read for its latest mark.
  var markedAt = Instant(nanoseconds: 0)

  init(
    _ dataset: Dataset, replicas: Int, declared: Int?, recorded: Int = 0, hasFollowed: Bool = false,
    clockError: Int64 = 0
  ) {
    self.clockError = clockError
    self.dataset = dataset
    self.replicas = replicas
    self.declared = declared
    self.recorded = recorded
    self.hasFollowed = hasFollowed
  }

  /// When time 0 of a simulation is, in microseconds since 1970.
  private static let beginning: Int64 = 1_763_683_200_000_000

  /// Its clock, in microseconds since 1970.
  func time(at now: Instant) -> UInt64 {
    UInt64(Self.beginning + now.nanoseconds / 1_000 + clockError + clockOffset.wholeNanoseconds / 1_000)
  }

  /// The true time of a clock's time, if that clock was right.
  static func moment(of time: UInt64) -> Instant { Instant(nanoseconds: (Int64(time) - beginning) * 1_000) }

  /// What it says of the store, which a publisher told how many replicas there are.
  /// - Parameter time: What its clock says; nil if it denies that.
  func position(at time: UInt64?) -> StoreAnswer<StorePosition> {
    guard case .found(var position) = dataset.store.position() else { return dataset.store.position() }
    position.replicas = declared
    position.time = time
    return .found(position)
  }

  func manifest(at time: UInt64?) -> StoreAnswer<Manifest> {
    guard case .found(var manifest) = dataset.store.manifest() else { return dataset.store.manifest() }
    manifest.position.replicas = declared
    manifest.position.time = time
    return .found(manifest)
  }

  func remember() {
    if earlier.count == 12 { earlier.removeFirst() }
    earlier.append(dataset)
  }

  func recover(asPrimary: Bool) {
    if asPrimary { isDeposed = false }
    isDown = false
    stalledUntil = nil
    slowness = 1
    failing = 0
    isDemoted = isDeposed
    isFull = false
    replicasAreAway = false
    denied = []
    declared = replicas
  }
}
