import CommandSupport
import Foundation
import KeyStore

/// A list that was read, and its effects.
struct PlannedList {
  let verb: String
  let list: KeyListSpool
  let publication: Publication
  let consequences: ListConsequences

  private var effects: ListEffects { consequences.effects }

  /// The effects in one line.
  var summary: String {
    "\(count(list.entryCount, "record")): adds \(effects[.added]), activates \(effects[.activated]), suspends "
      + "\(effects[.suspended]), revokes \(effects[.revoked]), moves \(effects[.moved]) to another account"
      + "\(ends); "
      + "\(effects[.unchanged] + effects[.noted]) stay"
  }

  /// The effects on expiries; empty if there are none.
  private var ends: String {
    let (expired, changed) = (effects[.expired], effects[.expiryChanged])
    return (expired > 0 ? ", expires \(expired) at once" : "")
      + (changed > 0 ? ", changes the expiry of \(changed)" : "")
  }

  /// The effects with some of the keys, and the keys that would stay unchanged.
  var preview: String {
    var lines = ["\(summary). Nothing was changed"]
    for kind in ListEffects.changing where kind != .noted && effects[kind] > 0 {
      let keys = effects.examples(of: kind).map { "\($0.key) of \($0.account)" }
      let more = effects[kind] > keys.count ? ", …" : ""
      lines.append("would \(Self.verb(kind)): \(keys.joined(separator: ", "))\(more)")
    }
    return
      (lines
      + left(effects[.newer], effects[.olderRevision], effects[.staysRevoked], damaged: effects[.damaged]))
      .joined(separator: "\n")
  }

  private static func verb(_ kind: ListEffects.Kind) -> String {
    switch kind {
    case .added: "add"
    case .activated: "activate"
    case .suspended: "suspend"
    case .revoked: "revoke"
    case .moved: "move"
    case .expired: "expire at once"
    case .expiryChanged: "change the expiry of"
    case .noted, .unchanged, .newer, .olderRevision, .staysRevoked, .damaged: "leave"
    }
  }

  private func left(_ newer: Int, _ older: Int, _ revoked: Int, suspended: Int = 0, damaged: Int) -> [String] {
    let left: [(Int, String)] = [
      (revoked, "revoked in the store: left as they are; --reactivate makes them what the list says"),
      (suspended, "suspended in the store: left as they are, because the list gives no state"),
      (newer, "changed since the list began: left as they are"),
      (older, "with a larger revision in the store: left as they are"),
      (damaged, "with an unreadable record in the store: left as they are; key-publisher verify shows them"),
    ]
    return left.filter { $0.0 > 0 }.map { "\(count($0.0, "key")) \($0.1)" }
  }

  /// The results, in sentences.
  func report(_ outcome: Publication.Outcome) -> [String] {
    guard let edits = outcome.edits else { return ["the list is empty; nothing was changed"] }
    let taken = outcome.consequences
    let revoked = taken[.listedRevoked] + taken[.unlisted] + taken[.suspendedUnlisted]
    return [
      "\(count(list.entryCount, "record")): \(edits.changed) changed, \(edits.unchanged) as they were; \(revoked) revoked, "
        + "\(taken[.listedSuspended]) suspended, \(taken[.moved]) moved to another account"
        + (taken[.listedExpired] > 0 ? ", \(taken[.listedExpired]) expired at once" : "")
        + "; version \(edits.version)"
    ]
      + left(
        edits[.newerVersion], edits[.olderRevision], edits[.staysRevoked] + edits.leftRevoked,
        suspended: edits.leftSuspended, damaged: edits[.damaged])
  }

  /// Why a list was refused by the guard, and how to apply it nevertheless.
  func refusal(maxRevoked: Double) -> String {
    let plan = consequences
    var lines = [
      "the list would take \(plan.count) of \(plan.active) active keys out of service or to another account, more than "
        + "\(maxRevoked.formatted(.number.grouping(.never)))%. Nothing was changed."
    ]
    for kind in ListConsequences.Kind.allCases where plan[kind] > 0 {
      let words =
        switch kind {
        case .listedRevoked: "would be revoked: the list says so"
        case .listedSuspended: "would be suspended: the list says so"
        case .unlisted: "would be revoked: they aren't on the list"
        case .suspendedUnlisted: "are suspended and would be revoked for good: they aren't on the list"
        case .moved: "would move to another account"
        case .listedExpired: "would expire at once: the list gives them an expiry in the past"
        }
      let examples = plan.examples(of: kind).map { "\"\($0)\"" }.joined(separator: ", ")
      lines.append("\(plan[kind]) \(words). Some of their accounts: \(examples)")
    }
    let needed = plan.neededPercent.formatted(.number.grouping(.never))
    lines.append("If that is what you want, use --max-revoked \(needed).")
    return lines.joined(separator: "\nkey-publisher: ")
  }
}

/// The effects of a list, or their preview, as JSON.
struct ListResult: Encodable {
  var dryRun: Bool
  var records: Int
  var added: Int
  var activated: Int
  var suspended: Int
  var revoked: Int
  var moved: Int
  /// Keys that were in use and whose end has come already.
  var expired: Int
  /// Keys whose end changes otherwise.
  var expiryChanged: Int
  /// Keys that differ between list and store, and were left unchanged.
  var left: Left
  /// Number of written records; nil in a dry run.
  var changed: Int?
  var sealed: Bool?
  var version: UInt64?

  struct Left: Encodable {
    var changedSince: Int
    var largerRevision: Int
    var revoked: Int
    /// Keys whose records in the store can't be read.
    var damaged: Int
  }

  init(_ plan: PlannedList, _ outcome: Publication.Outcome? = nil) {
    let effects = plan.consequences.effects
    dryRun = outcome == nil
    records = plan.list.entryCount
    (added, activated, moved) = (effects[.added], effects[.activated], effects[.moved])
    (suspended, revoked) = (effects[.suspended], effects[.revoked])
    (expired, expiryChanged) = (effects[.expired], effects[.expiryChanged])
    left = Left(
      changedSince: effects[.newer], largerRevision: effects[.olderRevision], revoked: effects[.staysRevoked],
      damaged: effects[.damaged])
    guard let edits = outcome?.edits else { return }
    changed = edits.changed
    version = edits.version
    left.changedSince = edits[.newerVersion]
    left.largerRevision = edits[.olderRevision]
    left.revoked = edits[.staysRevoked]
    left.damaged = edits[.damaged]
  }
}
