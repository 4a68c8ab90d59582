import ArgumentParser
import CommandSupport
import KeyReplica

/// The version of the store that a change is based on.
struct BasisArguments: ParsableArguments {
  private static let ifVersion = Setting<Int>(
    "if-version",
    "Leave a key alone that was changed after this version of the store; each verb and key-publisher verify say which it is at.",
    shown: "version", in: 0...(1 << 53))
  @Option(help: Self.ifVersion.help) var ifVersion: String?

  func version() throws -> UInt64? { try Settings().optional(Self.ifVersion, given: ifVersion).map { UInt64($0) } }
}

/// The version and the revision that a change of one key is based on.
struct RevisionArguments: ParsableArguments {
  @OptionGroup var basis: BasisArguments

  private static let revision = Setting<Int>(
    "revision",
    "Your database's number for this change, which grows with each change of the key: a larger one in the store wins.",
    shown: "number", in: 0...Int(KeyRecord.revisionLimit))
  @Option(help: Self.revision.help) var revision: String?

  /// Whether neither was given.
  var isEmpty: Bool { get throws { try basis.version() == nil && number() == nil } }

  func number() throws -> UInt64? { try Settings().optional(Self.revision, given: revision).map { UInt64($0) } }
}
