import ArgumentParser
import CommandSupport
import KeyReplica
import KeyStore
import RedisClient

/// Selects the key of a verb.
struct KeyArguments: ParsableArguments {
  private static let key = Setting<Secret>(
    "key", "The key itself, or - to read it from standard input.", shown: "key")
  @Option(help: Self.key.help) var key: String?

  private static let keyID = Setting<String>("key-id", "The key's SHA-256, 64 hexadecimal digits.", shown: "id")
  @Option(help: Self.keyID.help) var keyID: String?

  /// Whether no key was given on the command line.
  var isEmpty: Bool { key == nil && keyID == nil }

  /// - Parameter secret: The key itself, or - to read it from standard input.
  static func id(ofSecret secret: String) throws -> KeyID {
    let secret = secret == "-" ? (readLine(strippingNewline: true) ?? "") : secret
    if let objection = KeyListParser.objection(toSecret: secret) { throw ValidationError(objection) }
    return KeyID(secret: secret.utf8)
  }

  static func id(inHex text: String, _ option: String) throws -> KeyID {
    guard let parsed = KeyID(hex: text) else {
      throw ValidationError("\(option): expected 64 hexadecimal digits, got \(text.utf8.count) characters")
    }
    return parsed
  }

  func resolve() throws -> KeyID {
    let settings = Settings()
    let key = try settings.optional(Self.key, given: key)
    switch (key, try settings.optional(Self.keyID, given: keyID)) {
    case (let key?, nil):
      return try Self.id(ofSecret: key.revealed)
    case (nil, let id?):
      return try Self.id(inHex: id, "--key-id")
    default: throw ValidationError("expected either --key or --key-id (or SLUICE_KEY or SLUICE_KEY_ID)")
    }
  }
}
