/// How complete and how fresh a mirror is: two separate things, and both as of now.
public struct ReplicaStatus: Sendable, Hashable {
  public var completeness: Completeness
  /// The publisher's word that the store was populated, as last read.
  public var sealed: Bool
  /// Records in the mirror, in whatever state.
  public var keys: Int
  public var accounts: Int
  /// The mirrored history; nil before there was any.
  public var epoch: String?
  /// The version up to which changes have been followed.
  public var version: UInt64
  /// The store's version as last read; nil if it never was.
  public var storeVersion: UInt64?
  /// How long ago the last read of this history was sent that has been answered with a version that the mirror has
  /// reached; nil if there never was one, which is not zero.
  public var age: Duration?
  /// Why nobody may be refused now; nil if refusals can be proven.
  public var objection: Undecided?
  /// Reads of the store's position since the start, periodic ones included.
  public var barrierReads: UInt64
  /// Requests that wait for a proof.
  public var barrierWaiting: Int
  /// Keys that the store doesn't hold as active any more and that stay admitted until an operator has confirmed their removal.
  public var quarantined = 0
  /// Whether it can be relied on for admitting: the mirror has been a whole, sealed store once, here or before a restart, and isn't
  /// too old.
  public var admits = false
  /// Keys whose records vanished without a change that ended them, since the start: never zero without a reason to look.
  public var violations: UInt64 = 0
  /// The distinct keys that were shown lately, and whether unknown ones are answered 503 because they are too many.
  public var recentKeys = RecentKeyCounts()
}
