/// How complete and how fresh a mirror is: two separate values, both current.
public struct ReplicaStatus: Sendable, Hashable {
  public var completeness: Completeness
  /// Whether the publisher has declared the store complete, as last read.
  public var sealed: Bool
  /// Records in the mirror, in all states.
  public var keys: Int
  public var accounts: Int
  /// The epoch of the mirrored history; nil before the first one.
  public var epoch: String?
  /// The version up to which changes have been followed.
  public var version: UInt64
  /// The store's version as last read; nil if it never was.
  public var storeVersion: UInt64?
  /// Time since the last read of this history was sent that was answered and whose version the mirror has reached. nil
  /// if there never was one, which is not the same as zero.
  public var age: Duration?
  /// Why no key may be refused now; nil if refusals can be proven.
  public var objection: Undecided?
  /// Reads of the store's position since the start, including periodic ones.
  public var barrierReads: UInt64
  /// Requests that wait for a proof.
  public var barrierWaiting: Int
  /// Keys that are no longer active in the store, and stay admitted until an operator has confirmed their removal.
  public var quarantined = 0
  /// Of these, keys whose records vanished from the store.
  public var vanished = 0
  /// Keys that are admitted again because the store's history went back to before their revocation.
  public var revived = 0
  /// The mirrored store; nil before there was one.
  public var store: StoreIdentity?
  /// How the store at the address differs from the mirrored one; nil if it is the same store.
  public var wrongStore: WrongStore?
  /// Whether the mirror can be relied on for admission: it has been a whole, sealed store once, in this process or
  /// before a restart, and isn't too old.
  public var admits = false
  /// Keys whose records vanished without a change that revoked or suspended them, since the start. Any value above zero
  /// should be investigated.
  public var violations: UInt64 = 0
  /// The source mark in the last position that was read; nil before the first one.
  public var source: SourceMark?
  /// What refusals are proven against.
  public var proveAgainst = ProofBasis.store
  /// The distinct keys that clients sent lately, and whether unknown keys are answered 503 because there are too many.
  public var recentKeys = RecentKeyCounts()
}
