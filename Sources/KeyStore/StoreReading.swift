// The reads of the key store: the commands, and the meaning of their replies. An answer is a value, "there is no store"
// or "incompatible". Everything else is thrown, so that a failed read is never mistaken for an absent store or key.

import Hiredis
public import KeyReplica
public import RedisClient

/// Invalid content of the store. It is an error, and never means "absent".
public struct UnreadableStore: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}

extension StoreLayout {
  var positionCommand: RedisCommand { PositionScript(layout: self).commandWithSource }

  func position(from reply: RedisReply) throws -> StoreAnswer<StorePosition> {
    try PositionScript(layout: self).read(reply)
  }

  /// - Parameters:
  ///   - fields: The values of ``metaFields``.
  ///   - time: Redis's time in the same step, in microseconds since 1970; nil if it isn't known.
  static func position(
    fromFields fields: ArraySlice<RedisReply>, at time: UInt64? = nil
  ) throws -> StoreAnswer<StorePosition> {
    let texts = try fields.map { try $0.stringOrNull() }
    guard texts.count == metaFields.count else {
      throw UnreadableStore("expected \(metaFields.count) fields of meta, got \(texts.count)")
    }
    if texts.allSatisfy({ $0 == nil }) { return .noStore }
    if texts[0] == rebuilding {
      return .incompatible("the store is being rebuilt by key-publisher reseal; if that was interrupted, run it again")
    }
    guard let found = texts[0], isKnown(schema: found) else {
      return .incompatible(
        "the store has schema \(texts[0] ?? "none"), this build reads schema \(schema) and \(schemaWithExpiry)")
    }
    guard texts[1] == "\(bucketCount)" else {
      return .incompatible("the store has \(texts[1] ?? "no") buckets, this build reads \(bucketCount)")
    }
    guard let epoch = texts[2], let version = texts[3].flatMap({ UInt64($0) }),
      let count = texts[4].flatMap({ Int($0) }),
      let digest = texts[5].flatMap({ Digest(hex: $0) })
    else {
      throw UnreadableStore("the store's epoch, version, count or digest is missing or can't be read")
    }
    guard let announced = UInt64(texts[7] ?? "0"), let confirmed = UInt64(texts[8] ?? "0") else {
      throw UnreadableStore("the store's announced or confirmed removals can't be read")
    }
    let replicas = try texts[9].map { text in
      guard let number = Int(text), (0...Replication.replicaLimit).contains(number) else {
        throw UnreadableStore("expected 0 to \(Replication.replicaLimit) replicas, got \"\(text.prefix(32))\"")
      }
      return number
    }
    let (id, name) = (texts[10] ?? epoch, texts[11])
    guard (1...64).contains(id.utf8.count), name.map({ StoreIdentity.objection(toName: $0) == nil }) ?? true else {
      throw UnreadableStore("the store's ID or name can't be read")
    }
    let unknown = texts[13] ?? "0"
    guard let confirmedUnknown = Int(unknown), (0...RecentKeyCounts.confirmedLimit).contains(confirmedUnknown) else {
      throw UnreadableStore(
        "expected 0 to \(RecentKeyCounts.confirmedLimit) confirmed unknown keys, got \"\(unknown.prefix(32))\"")
    }
    return .found(
      StorePosition(
        epoch: epoch, version: version, count: count, digest: digest, sealed: texts[6] == "1", announced: announced,
        confirmed: confirmed, replicas: replicas, store: StoreIdentity(id: id, name: name),
        adopted: texts[12]?.split(separator: " ").map(String.init) ?? [], confirmedUnknown: confirmedUnknown,
        source: sourceMark(texts[14], version: texts[15], maxAge: texts[16], readAt: time)))
  }

  /// The source mark. If it can't be read, it says so itself: the position is valid without it.
  private static func sourceMark(
    _ moment: String?, version: String?, maxAge: String?, readAt: UInt64?
  ) -> SourceMark {
    var mark = SourceMark(readAt: readAt)
    func number(_ text: String?, of field: String, upTo limit: UInt64 = SourceMark.limit) -> UInt64? {
      guard let text else { return nil }
      if let number = UInt64(text), number <= limit { return number }
      mark.flaw = "expected a number in the field \(field) of meta, got \"\(text.prefix(32))\""
      return nil
    }
    mark.moment = number(moment, of: "source_mark")
    mark.version = number(version, of: "source_version")
    guard maxAge != "none" else {
      mark.saysNoLimit = true
      return mark
    }
    let milliseconds = number(maxAge, of: "source_max_age", upTo: SourceMark.maxAgeLimit)
    mark.maxAge = milliseconds.map { .milliseconds(Int64($0)) }
    return mark
  }

  func bucketCommand(_ index: Int) -> RedisCommand { RedisCommand("HGETALL", bucket(index)) }

  func rawBucket(from reply: RedisReply) throws -> RawBucket {
    // hiredis has returned one piece of memory, unless the array is small or has long records.
    let strings =
      if case .strings(let strings) = reply { strings } else { RedisStrings(try reply.array().map { try $0.bytes() }) }
    guard strings.count.isMultiple(of: 2) else {
      throw UnreadableStore("expected fields and values, got \(strings.count) items")
    }
    return RawBucket(bytes: strings.bytes, ends: strings.ends, summaryField: Self.summaryField.utf8)
  }

  /// Waits for changes after a version.
  func changesCommand(after version: UInt64, waitingMilliseconds wait: Int, atMost count: Int) -> RedisCommand {
    RedisCommand("XREAD", "COUNT", count, "BLOCK", wait, "STREAMS", changes, "\(version)-0")
  }

  func changes(from reply: RedisReply) throws -> [Change] {
    guard let streams = try reply.arrayOrNull() else { return [] }
    guard streams.count == 1, case let stream = try streams[0].array(), stream.count == 2 else {
      throw UnreadableStore("expected one stream, got \(streams.count)")
    }
    return try stream[1].array().map { try Self.change(from: $0.array()) }
  }

  private static func change(from entry: [RedisReply]) throws -> Change {
    guard entry.count == 2 else { throw UnreadableStore("expected an id and fields, got \(entry.count) items") }
    let id = try entry[0].string()
    guard id.hasSuffix("-0"), let version = UInt64(id.dropLast(2)) else {
      throw UnreadableStore("expected a stream id <version>-0, got \(id)")
    }
    var fields: [String: [UInt8]] = [:]
    let items = try entry[1].array()
    for index in stride(from: 0, to: items.count - 1, by: 2) {
      fields[try items[index].string()] = try items[index + 1].bytes()
    }
    func text(_ name: String) -> String? { fields[name].map { String(decoding: $0, as: UTF8.self) } }
    let total = text("total").flatMap { Digest(hex: $0) }
    // An entry without an epoch belongs to no history, so not to the mirrored one.
    let epoch = text("epoch") ?? "none"
    let effect: Change.Effect =
      switch text("op") {
      case "seal" where total != nil: .seal
      case "put" where total != nil, "end" where total != nil:
        if let key = fields["id"].flatMap({ KeyID(bytes: $0) }), let record = fields["record"],
          let bucket = text("bucket").flatMap({ Int($0) }), let count = text("count").flatMap({ Int($0) }),
          let digest = text("digest").flatMap({ Digest(hex: $0) })
        {
          .put(
            key, record: record, bucket: bucket, after: BucketSummary(count: count, digest: digest, version: version))
        } else {
          .undecodable("a put lacks its id, record, bucket, count or digest")
        }
      case "purge" where total != nil:
        if let key = fields["id"].flatMap({ KeyID(bytes: $0) }), let bucket = text("bucket").flatMap({ Int($0) }),
          let count = text("count").flatMap({ Int($0) }), let digest = text("digest").flatMap({ Digest(hex: $0) })
        {
          .purge(key, bucket: bucket, after: BucketSummary(count: count, digest: digest, version: version))
        } else {
          .undecodable("a purge lacks its id, bucket, count or digest")
        }
      case "confirm" where total != nil: .confirm
      case let op:
        .undecodable("expected a change that this build knows, with a total, got \(op ?? "no operation")")
      }
    return Change(
      epoch: epoch, version: version, total: total ?? .empty, effect: effect, isAgreed: text("op") == "end")
  }
}

extension RedisConnection {
  /// Reads the store's position.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError`` or ``UnreadableStore``. A failed read never
  ///   returns an answer.
  public func storePosition(_ layout: StoreLayout) async throws -> StoreAnswer<StorePosition> {
    try layout.position(from: await execute(layout.positionCommand))
  }

  /// Reads the store's description.
  /// - Throws: ``RedisClient/RedisError``, ``Hiredis/RedisServerError`` or ``UnreadableStore``. A failed read never
  ///   returns an answer.
  public func storeManifest(_ layout: StoreLayout) async throws -> StoreAnswer<Manifest> {
    let script = ManifestScript(layout: layout)
    return try script.read(await execute(script))
  }
}
