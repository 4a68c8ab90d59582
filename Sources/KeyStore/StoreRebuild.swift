// Rebuilds a store's description from its records: for an operator whose store was damaged by hand, and who has no list
// to import. The result is another history.
//
// It can't be one atomic step: with a million records that would block Redis for seconds. So there are many steps, and
// the store is closed in between. First meta's schema becomes `rebuilding`: no node reads such a store (known keys stay
// admitted, no key is refused) and no script of any build writes to it. Then each bucket is counted, and its future
// summary is recorded separately. At the end the summaries of all buckets and meta are written in one step. If the
// rebuild is killed, the store stays closed, with its old description, until the rebuild is run again. It then starts
// from the beginning: that takes seconds, and a record of finished steps could be wrong.
//
// The summaries aren't written one by one, because a node that is reading at that moment would install such a bucket.

import Hiredis
public import KeyReplica
import NIOCore
public import RedisClient

/// The content of a store, independent of its description.
public struct StoreSurvey: Sendable, Hashable {
  /// Whether no part of a store exists.
  public var isAbsent = false
  /// Why the store has an incompatible format and can't be rebuilt; nil if it can.
  public var otherKind: String?
  /// Number of readable records, by state.
  public var keysByState: [KeyState: Int] = [:]
  /// The number of records in the store's description; nil if there is none.
  public var claimed: Int?
  /// Problems that would be corrected, as text; at most ``problemLimit``.
  public var problems: [String] = []
  public var problemCount = 0
  /// Fields that aren't records of their bucket or can't be read, as text; at most ``problemLimit``.
  public var unreadable: [String] = []
  public var unreadableCount = 0
  /// The latest version in any part of the store.
  public var latestVersion: UInt64 = 0

  public static let problemLimit = 20

  public var keys: Int { keysByState.values.reduce(0, +) }

  fileprivate mutating func add(problem: String) {
    problemCount += 1
    if problems.count < Self.problemLimit { problems.append(problem) }
  }

  fileprivate mutating func add(_ bucket: BucketRemains) {
    keysByState.merge(bucket.keysByState, uniquingKeysWith: +)
    unreadableCount += bucket.unreadable.count
    unreadable += bucket.unreadable.prefix(Self.problemLimit - unreadable.count)
    latestVersion = max(latestVersion, bucket.version)
    if let problem = bucket.problem { add(problem: problem) }
  }
}

/// A store couldn't be rebuilt. If it was already closed, it stays closed.
public struct NotRebuilt: Error, Sendable, Hashable, CustomStringConvertible {
  public let description: String
}

/// The content of one bucket.
private struct BucketRemains {
  var keysByState: [KeyState: Int] = [:]
  var summary = BucketSummary.empty
  /// Whether a record has an expiry.
  var hasExpiry = false
  /// Whether the bucket exists.
  var exists = true
  /// The names of fields to delete, with a description as text.
  var foreign: [[UInt8]] = []
  var unreadable: [String] = []
  /// Why the bucket doesn't match its summary; nil if it does.
  var problem: String?
  /// The version in its summary.
  var version: UInt64 = 0

  init(_ reply: RedisReply, bucket index: Int, layout: StoreLayout) throws {
    let raw: RawBucket
    do {
      raw = try layout.rawBucket(from: reply)
    } catch let error as RedisServerError where error.code == "WRONGTYPE" {
      unreadable = ["bucket \(index) isn't a hash"]
      return
    }
    exists = raw.summary != nil || raw.count > 0
    for (name, value) in raw.fields {
      guard let id = KeyID(bytes: name), id.bucket(of: StoreLayout.bucketCount) == index else {
        foreign.append(name)
        unreadable.append("bucket \(index) has a field that isn't a key ID of this bucket")
        continue
      }
      do throws(UndecodableRecord) {
        let record = try KeyRecord(decoding: value)
        keysByState[record.state, default: 0] += 1
        if record.expiresAt != nil { hasExpiry = true }
        summary.count += 1
        summary.digest ^= Digest(of: id, record: value)
      } catch {
        foreign.append(name)
        unreadable.append("bucket \(index), key ID \(id.hex): \(error)")
      }
    }
    let said = raw.summary.flatMap { BucketSummary(decoding: $0) }
    // Redis's Lua can't represent larger numbers exactly.
    version = said.map(\.version).flatMap { $0 < 1 << 53 ? $0 : nil } ?? 0
    if let said, said.count != summary.count || said.digest != summary.digest {
      problem =
        "bucket \(index): its summary says \(said.count) records with digest \(said.digest), "
        + "got \(summary.count) with \(summary.digest)"
    } else if said == nil {
      problem =
        "bucket \(index) has \(summary.count) records and \(raw.summary == nil ? "no summary" : "an unreadable summary")"
    } else if said.map(\.version) != version {
      problem = "bucket \(index): the version in its summary is too large"
    }
  }
}

/// Rebuilds a store from its records.
public struct StoreRebuild: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout

  public init(connection: RedisConnection, layout: StoreLayout) {
    self.connection = connection
    self.layout = layout
  }

  /// Number of buckets that are read at once.
  private static let step = 32

  /// Reads everything, and changes nothing.
  /// - Parameter progress: Called with the number of buckets read so far.
  /// - Throws: Any failed read.
  public func survey(progress: (Int) -> Void = { _ in }) async throws -> StoreSurvey {
    var survey = StoreSurvey()
    let description = try await connection.execute([
      layout.positionCommand, RedisCommand("EXISTS", layout.meta), RedisCommand("EXISTS", layout.changes),
    ])
    let fields = try description[0].array().map { try $0.stringOrNull() }
    var isThere = try description[1].integer() + description[2].integer() > 0
    let schema = fields.first ?? nil
    if let schema, !StoreLayout.isKnown(schema: schema), schema != StoreLayout.rebuilding {
      survey.otherKind =
        "the store has schema \(schema), this build writes schema \(StoreLayout.schema) or "
        + "\(StoreLayout.schemaWithExpiry)"
      return survey
    }
    if let buckets = fields[1], buckets != "\(StoreLayout.bucketCount)" {
      survey.otherKind = "the store has \(buckets) buckets, this build writes \(StoreLayout.bucketCount)"
      return survey
    }
    for first in stride(from: 0, to: StoreLayout.bucketCount, by: Self.step) {
      for (_, bucket) in try await remains(from: first) {
        survey.add(bucket)
        isThere = isThere || bucket.exists
      }
      progress(min(first + Self.step, StoreLayout.bucketCount))
    }
    survey.isAbsent = !isThere
    if !survey.isAbsent { try await describe(fields, &survey) }
    return survey
  }

  /// The problems of meta and of the stream.
  private func describe(_ fields: [String?], _ survey: inout StoreSurvey) async throws {
    survey.claimed = fields[4].flatMap { Int($0) }
    if fields[0] == StoreLayout.rebuilding {
      survey.add(problem: "the store was being rebuilt, and that wasn't finished")
      return
    }
    do {
      switch try await connection.storeManifest(layout) {
      case .noStore: survey.add(problem: "the Redis hash \(layout.meta) is missing")
      case .incompatible(let why): survey.add(problem: why)
      case .found(let manifest):
        let position = manifest.position
        survey.latestVersion = max(survey.latestVersion, position.version)
        if !manifest.fitsTogether {
          survey.add(
            problem: "meta says \(position.count) records with digest \(position.digest), "
              + "the buckets' summaries say \(manifest.sum.count) with \(manifest.sum.digest)")
        }
        if !position.sealed { survey.add(problem: "the store isn't sealed") }
        for (index, summary) in manifest.buckets.enumerated() {
          guard let summary, summary.version > position.version else { continue }
          survey.add(
            problem: "bucket \(index) was changed at version \(summary.version), meta is at \(position.version)")
        }
        if let last = try await lastStreamID(), last.version > position.version || last.hasSequence {
          survey.add(problem: "the change stream goes to version \(last.version), meta is at \(position.version)")
        }
      }
    } catch let error as UnreadableStore {
      survey.add(problem: error.description)
    } catch let error as RedisServerError where error.code == "WRONGTYPE" {
      survey.add(
        problem: "a Redis key of the store has the wrong type: expected a stream at \(layout.changes), "
          + "and hashes at \(layout.meta) and in all buckets")
    }
  }

  /// The last ID that the stream ever had; nil if there is no stream.
  private func lastStreamID() async throws -> (version: UInt64, hasSequence: Bool)? {
    guard try await connection.execute(RedisCommand("EXISTS", layout.changes)).integer() == 1 else { return nil }
    let items = try await connection.execute(RedisCommand("XINFO", "STREAM", layout.changes)).array()
    for index in stride(from: 0, to: items.count - 1, by: 2) where try items[index].string() == "last-generated-id" {
      let id = try items[index + 1].string()
      guard let version = UInt64(id.prefix { $0 != "-" }) else { break }
      return (version, !id.hasSuffix("-0"))
    }
    throw UnreadableStore("Redis doesn't say what the last id of \(layout.changes) is")
  }

  private func remains(from first: Int) async throws -> [(index: Int, bucket: BucketRemains)] {
    let indices = first..<min(first + Self.step, StoreLayout.bucketCount)
    let replies = try await connection.execute(indices.map(layout.bucketCommand), within: .seconds(30))
    return try zip(indices, replies).map { ($0, try BucketRemains($1, bucket: $0, layout: layout)) }
  }

  /// Rebuilds the store's description, as a new history, and seals it.
  ///
  /// No removal is marked as intended: nodes that would lose unusually many active keys keep admitting them until an
  /// operator confirms the removals.
  /// - Parameters:
  ///   - survey: The survey that the operator agreed to.
  ///   - progress: Called with the number of buckets done so far. If it throws, the rebuild ends there.
  /// - Returns: The version, and the number of records.
  /// - Throws: ``NotRebuilt`` and Redis's errors. Then the store stays closed until this is run again.
  public func run(
    after survey: StoreSurvey, droppingUnreadable: Bool, progress: (Int) throws -> Void = { _ in }
  ) async throws -> (version: UInt64, keys: Int) {
    if let why = survey.otherKind { throw NotRebuilt(description: why) }
    let epoch = StoreEpoch.random()
    let begin = BeginRebuildScript(layout: layout, epoch: epoch, latestVersion: survey.latestVersion)
    try begin.read(await connection.execute(begin))
    var hasExpiry = false
    for first in stride(from: 0, to: StoreLayout.bucketCount, by: Self.step) {
      let buckets = try await remains(from: first)
      hasExpiry = hasExpiry || buckets.contains { $0.bucket.hasExpiry }
      let written = try buckets.map { index, bucket in
        guard droppingUnreadable || bucket.unreadable.isEmpty else {
          throw NotRebuilt(
            description: "the store has changed since it was read: \(bucket.unreadable[0]). "
              + "Run key-publisher reseal again")
        }
        let script = RebuildBucketScript(
          layout: layout, epoch: epoch, index: index, count: bucket.summary.count, digest: bucket.summary.digest,
          foreign: bucket.foreign)
        return connection.run(script, within: .seconds(30)).flatMapThrowing { try script.read($0) }
      }
      for bucket in written { try await bucket.get() }
      try progress(min(first + Self.step, StoreLayout.bucketCount))
    }
    let finish = FinishRebuildScript(layout: layout, epoch: epoch, hasExpiry: hasExpiry)
    let rebuilt = try finish.read(await connection.execute(finish, within: .seconds(30)))
    return (rebuilt.version, rebuilt.keys)
  }
}
