import ArgumentParser
import CommandSupport
import KeyReplica

/// The version of the store that a change is based on.
struct BasisArguments: ParsableArguments {
  private static let ifVersion = Setting<Int>(
    "if-version",
    "Change the key only if it hasn't changed since this version of the store. Every verb prints the version.",
    shown: "version", in: 0...(1 << 53))
  @Option(help: Self.ifVersion.help) var ifVersion: String?

  func version() throws -> UInt64? { try Settings().optional(Self.ifVersion, given: ifVersion).map { UInt64($0) } }
}

/// The version and the revision that a change of one key is based on.
struct RevisionArguments: ParsableArguments {
  @OptionGroup var basis: BasisArguments

  private static let revision = Setting<Int>(
    "revision",
    "The revision of this change in your database, a number that grows with each change of the key. If the store has a larger one, the key is left as it is.",
    shown: "number", in: 0...Int(KeyRecord.revisionLimit))
  @Option(help: Self.revision.help) var revision: String?

  /// Whether neither was given.
  var isEmpty: Bool { get throws { try basis.version() == nil && number() == nil } }

  func number() throws -> UInt64? { try Settings().optional(Self.revision, given: revision).map { UInt64($0) } }
}
