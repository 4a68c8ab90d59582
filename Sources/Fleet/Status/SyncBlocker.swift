// The reasons that keep a node from being in sync. The list is closed, so each new reason must get its text here. It
// lets `wait` distinguish a change that is worth a line from a number that counts up.

public import KeyReplica

/// A reason that a node isn't in sync with the store.
public enum SyncBlocker: Sendable, Hashable {
  /// Its last report is older than ``FleetVerdict/silentAfter``.
  case silent(seconds: Int)
  /// It hasn't reported since Redis's clock went back.
  case undated
  /// Two live processes report under its name.
  case sharesItsName
  case empty
  case loading(verified: Int, total: Int)
  /// All buckets are verified, and the node is catching up with the store's latest changes.
  case catchingUp
  case restored(verified: Int, total: Int)
  case guarded
  case diverged(verified: Int, total: Int)
  case incompatible
  /// The store at its address isn't the one that it mirrors.
  case wrongStore(WrongStore)
  /// It mirrors another history of the store.
  case otherEpoch(String, store: String)
  /// The store is sealed, and the node hasn't read that yet.
  case missesTheSeal
  /// It mirrors the whole store, but can't prove refusals for another reason, as text.
  case cannotRefuse(String)
  /// It has no answered read of the store.
  case neverHeard
  /// Its last answered read of the store was this old when it reported.
  case stale(seconds: Int)
  case behind(version: UInt64, store: UInt64)
  /// It has followed changes that the store doesn't have (any more).
  case ahead(version: UInt64, store: UInt64)
  /// At the same version it has another number of keys.
  case otherCount(keys: Int, store: Int)

  /// To follow the node's name: `has been silent for 14 s`.
  public var words: String {
    switch self {
    case .silent(let seconds): "has been silent for \(Wording.time(seconds: Double(seconds)))"
    case .undated: "hasn't reported since Redis's clock went back"
    case .sharesItsName: "shares its name with another live process: give each node a name of its own"
    case .empty: "has read nothing of the store yet"
    case .loading(let verified, let total):
      "has verified \(Wording.count(verified)) of \(Wording.count(total)) buckets"
    case .catchingUp: "has verified every bucket and is catching up with the latest changes"
    case .restored(let verified, let total):
      "uses its state file; \(Wording.count(verified)) of \(Wording.count(total)) buckets are verified so far"
    case .guarded:
      "holds back removals of keys: check them, then run key-publisher confirm, or put the keys again"
    case .diverged(let verified, let total):
      "differs from the store (\(Wording.count(verified)) of \(Wording.count(total)) buckets verified), so unknown keys "
        + "are answered 503: run key-publisher verify, and see the node's log"
    case .wrongStore(let wrong):
      "answers 503 to unknown keys, because it found the wrong store: \(Wording.printable(wrong.description))"
    case .incompatible:
      "can't read the store's format: run the same Sluice version for nodes and key-publisher, and finish any reseal"
    case .otherEpoch(let epoch, let store):
      "still mirrors epoch \(epoch), but the store has epoch \(store): if this stays, compare the node's --redis with yours"
    case .missesTheSeal: "hasn't read yet that the store is sealed"
    case .cannotRefuse(let why): "answers 503 to unknown keys: \(Wording.printable(why))"
    case .neverHeard: "has had no answer from the store yet"
    case .stale(let seconds):
      "had had no answer from the store for \(Wording.time(seconds: Double(seconds))) when it reported"
    case .behind(let version, let store):
      "is \(Wording.number(store - version, "change")) behind: at version \(Wording.count(version)) of \(Wording.count(store))"
    case .ahead(let version, let store):
      "is at version \(Wording.count(version)), the store at \(Wording.count(store)): the store lost changes (failover, "
        + "restore?). Run key-publisher sync with your list"
    case .otherCount(let keys, let store):
      "has \(Wording.number(keys, "key")), the store has \(Wording.count(store)) at the same version: run key-publisher "
        + "verify"
    }
  }

  /// Whether a new value of the same reason is worth a line. Seconds that count up aren't.
  func isNews(after old: SyncBlocker) -> Bool {
    switch (old, self) {
    case (.silent, .silent), (.stale, .stale): false
    default: old != self
    }
  }
}

extension Member {
  /// For a silent one: `has been silent for 14 s`.
  var silence: String {
    isUndated ? SyncBlocker.undated.words : "has been silent for \(Wording.time(age))"
  }

  /// The time of the last report: `0.4 s ago`.
  var reported: String { isUndated ? "not known" : Wording.ago(seconds: age.fractionalSeconds) }
}
