import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore
import RedisClient

/// Which key a verb is about.
struct KeyArguments: ParsableArguments {
  private static let key = Setting<Secret>(
    "key", "The key itself, or - to read it from standard input.", shown: "key")
  @Option(help: Self.key.help) var key: String?

  private static let keyID = Setting<String>("key-id", "The key's SHA-256, 64 hexadecimal digits.", shown: "id")
  @Option(help: Self.keyID.help) var keyID: String?

  func resolve() throws -> KeyID {
    let settings = Settings()
    let key = try settings.optional(Self.key, given: key)
    switch (key, try settings.optional(Self.keyID, given: keyID)) {
    case (let key?, nil):
      let secret = key.revealed == "-" ? (readLine(strippingNewline: true) ?? "") : key.revealed
      if let objection = KeyListParser.objection(toSecret: secret) { throw ValidationError(objection) }
      return KeyID(secret: secret.utf8)
    case (nil, let id?):
      guard let parsed = KeyID(hex: id) else {
        throw ValidationError("--key-id: expected 64 hexadecimal digits, got \(id.utf8.count) characters")
      }
      return parsed
    default: throw ValidationError("expected either --key or --key-id (or SLUICE_KEY or SLUICE_KEY_ID)")
    }
  }
}
