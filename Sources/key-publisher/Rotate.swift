import ArgumentParser
import CommandSupport
import Foundation
import KeyReplica
import KeyStore
import RedisClient

struct Rotate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Replaces a key by a new one of the same account.",
    discussion: """
      Adds the new key and revokes the old one in one step, so one of them always works. If the old key isn't active, or the \
      new one is revoked or belongs to another account, nothing is changed (exit status 4).

      With --revoke-after both keys work until then. The old key is revoked by the next import, sync, rotate or revoke --due \
      after that time, unless it was changed in the meantime: run key-publisher revoke --due regularly. rotate may safely be repeated.
      """)

  @OptionGroup var store: StoreWriting
  @OptionGroup var key: KeyArguments

  private static let newKey = Setting<Secret>(
    "new-key", "The new key itself, or - to read it from standard input.", shown: "key")
  @Option(help: Self.newKey.help) var newKey: String?

  private static let newKeyID = Setting<String>(
    "new-key-id", "The new key's SHA-256, 64 hexadecimal digits.", shown: "id")
  @Option(help: Self.newKeyID.help) var newKeyID: String?

  private static let revokeAfter = Setting<Duration>(
    "revoke-after", "Revoke the old key after this time.", shown: "time", as: "at once",
    in: .zero ... .seconds(366 * 86_400))
  @Option(help: Self.revokeAfter.help) var revokeAfter: String?

  private struct Result: Encodable {
    var keyId: String
    var newKeyId: String
    var account: String
    /// Seconds since 1970; nil if the old key is already revoked.
    var revokedAt: Int64?
    var changed: Bool
    var version: UInt64
  }

  func run() async throws {
    let settings = Settings()
    let results = try store.results()
    let delay = try settings.optional(Self.revokeAfter, given: revokeAfter) ?? .zero
    let old = try key.resolve()
    let new = try newID(settings)
    guard old != new else { throw ValidationError("expected two keys, got the same one twice") }
    try await store.run { connection, layout in
      _ = try await revokeDueKeys(connection, layout)
      guard let record = try await connection.storedRecord(of: old, layout) else {
        complain("the store doesn't know key \(old); nothing was changed")
        throw ExitStatus.failed.code
      }
      let account = record.account
      if record.state == .revoked, try await connection.storedRecord(of: new, layout)?.isActive(of: account) == true {
        let version = record.version ?? 0
        return try results.print(
          "key \(old) of \(account) is revoked already, and \(new) is active",
          Result(keyId: old.hex, newKeyId: new.hex, account: account, changed: false, version: version))
      }
      var edits = [
        KeyEdit(key: old, kind: .check(.active, account: account)),
        KeyEdit(key: new, kind: .put(account: account, .active), allowing: .dependent),
      ]
      if delay == .zero { edits.append(KeyEdit(key: old, kind: .setState(.revoked), allowing: [.end, .dependent])) }
      let follower = try await activeFollower(connection, layout)
      let outcome = try await KeyStoreWriter(connection: connection, layout: layout).apply(edits)
      if let objection = objection(outcome.results, old, new) {
        complain("\(objection). Nothing was changed")
        let isDamaged = outcome.results.contains { $0.kind == .damaged }
        throw isDamaged ? ExitStatus.failed.code : ExitStatus.keyLeftAsItIs.code
      }
      if outcome.changed > 0, let follower { warn(of: follower) }
      var moment: Int64?
      if delay > .zero {
        let seconds = Int64(Date().timeIntervalSince1970) + delay.components.seconds
        try await DueRevocations(connection: connection, layout: layout).add(
          old, at: seconds, unlessChangedAfter: outcome.version)
        moment = seconds
      }
      let end =
        moment.map { "works until \(Date(timeIntervalSince1970: Double($0)).formatted(.iso8601))" } ?? "is revoked"
      try results.print(
        "key \(new) of \(account) is active, \(old) \(end); version \(outcome.version)",
        Result(
          keyId: old.hex, newKeyId: new.hex, account: account, revokedAt: moment, changed: outcome.changed > 0,
          version: outcome.version))
    }
  }

  private func newID(_ settings: Settings) throws -> KeyID {
    let newKey = try settings.optional(Self.newKey, given: newKey)
    switch (newKey, try settings.optional(Self.newKeyID, given: newKeyID)) {
    case (let secret?, nil): return try KeyArguments.id(ofSecret: secret.revealed)
    case (nil, let id?): return try KeyArguments.id(inHex: id, "--new-key-id")
    default: throw ValidationError("expected either --new-key or --new-key-id")
    }
  }

  /// Why the rotation wasn't done; nil if it was.
  private func objection(_ results: [EditResult], _ old: KeyID, _ new: KeyID) -> String? {
    if results[0].kind == .damaged { return "\(DamagedRecord(key: old))" }
    guard results[0].kind == .unchanged else {
      return "key \(old) is \(results[0].state?.word ?? "gone") or belongs to another account now"
    }
    switch results[1].kind {
    case .changed, .unchanged: return nil
    case .staysRevoked: return "the new key \(new) was revoked before; choose another one"
    case .damaged: return "\(DamagedRecord(key: new))"
    case .otherAccount: return "the new key \(new) belongs to another account; choose another one"
    default: return "the new key \(new) is \(results[1].state?.word ?? "unreadable")"
    }
  }
}

extension KeyRecord {
  fileprivate func isActive(of account: String) -> Bool { state == .active && self.account == account }
}
