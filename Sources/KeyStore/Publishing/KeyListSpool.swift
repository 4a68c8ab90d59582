// A key list. The whole list is read and checked before any of it is written to the store.
//
// It needs temporary files: a bad line near the end must not leave the first half applied, a pipe can be read only
// once, and a list of ten million keys may not fit into memory. So the list is parsed once into files, split by the
// first bits of the key IDs, 16 store buckets per file. Each file is then small enough to be processed in memory, to
// find keys that are listed twice, and the difference to the store. IDs are hashes, so all files grow at the same rate.
// A list that repeats the same IDs fills only one of them, so each file has a limit. Only hashed IDs are written to the
// disk, never a secret. The files are unlinked once they are open, so that nothing is left when the process ends for
// any reason.

public import Foundation
import KeyReplica
import PrivateFiles

/// A key list on disk, checked and split.
public final class KeyListSpool {
  /// Number of files. Each has the entries of an equal number of neighbouring store buckets.
  public static let partitionCount = 64
  static let bucketsPerPartition = StoreLayout.bucketCount / partitionCount

  public private(set) var entryCount = 0
  private var files: [FileHandle] = []
  private var counts = Array(repeating: 0, count: partitionCount)
  private var pending: [[UInt8]]

  /// Reading stops after this number of problems.
  public static let problemLimit = 20

  /// Maximum entries of one file, which is held in memory as a whole: enough for a list of 67 million different keys,
  /// or a million times the same key.
  public static let partitionLimit = 1 << 20

  private init() throws {
    let folder = FileManager.default.temporaryDirectory.path
    pending = Array(repeating: [], count: Self.partitionCount)
    for _ in 0..<Self.partitionCount {
      files.append(FileHandle(fileDescriptor: try PrivateFile.unnamed(in: folder), closeOnDealloc: false))
    }
  }

  deinit {
    for file in files { file.closeFile() }
  }

  /// The list has problems. Nothing of it was written to the store.
  public struct BadList: Error, CustomStringConvertible {
    public let problems: [KeyListProblem]
    /// Whether there may be more problems.
    public let gaveUp: Bool
    /// Whether the whole list was read.
    public let wasReadToEnd: Bool

    public var description: String {
      problems.map(\.description).joined(separator: "\n") + (gaveUp ? "\n… and perhaps more" : "")
    }
  }

  /// Reads and checks a whole list.
  /// - Parameter progress: Called from time to time with entries and bytes read so far.
  /// - Throws: ``BadList`` with the invalid lines.
  public static func reading(
    _ file: FileHandle, partitionLimit: Int = partitionLimit,
    progress: (_ entries: Int, _ bytes: Int) -> Void = { _, _ in }
  ) throws -> KeyListSpool {
    let spool = try KeyListSpool()
    var lines = LineReader(file)
    var parser = KeyListParser()
    var problems: [KeyListProblem] = []
    var number = 0
    var gaveUp = false
    do {
      while problems.count < problemLimit, let line = try lines.next() {
        number += 1
        do throws(KeyListProblem) {
          if let entry = try parser.parse(line) { spool.append(entry, limit: partitionLimit, &gaveUp) }
        } catch {
          problems.append(error)
          // Without a valid header no later line can be parsed.
          if !parser.knowsFormat { throw BadList(problems: problems, gaveUp: false, wasReadToEnd: false) }
        }
        if gaveUp {
          problems.append(
            KeyListProblem(
              line: number,
              reason:
                "the list is too long, or repeats keys: more than \(partitionLimit) entries in one of its "
                + "\(partitionCount) partitions. Remove duplicates, and run the command again"))
          break
        }
        if number.isMultiple(of: 4096) {
          try spool.flush(atLeast: 64 << 10)
          progress(spool.entryCount, lines.bytesRead)
        }
      }
    } catch let error as LineReader.TooLong {
      problems.append(KeyListProblem(line: number + 1, reason: "\(error)"))
      gaveUp = true
    } catch let error as LineReader.Cut {
      problems.append(KeyListProblem(line: number + 1, reason: "\(error)"))
    }
    try spool.flush(atLeast: 1)
    let wasReadToEnd = !gaveUp && problems.count < problemLimit
    if problems.isEmpty { problems = try spool.listedTwice() }
    guard problems.isEmpty else {
      throw BadList(
        problems: problems, gaveUp: gaveUp || problems.count >= problemLimit, wasReadToEnd: wasReadToEnd)
    }
    progress(spool.entryCount, lines.bytesRead)
    return spool
  }

  /// Checks and splits a list whose entries the caller has parsed.
  /// - Parameter next: Returns the next entries; nil after the last ones.
  /// - Throws: ``BadList``, or an error of `next`.
  public static func collecting(
    partitionLimit: Int = partitionLimit, _ next: () async throws -> [KeyListEntry]?
  ) async throws -> KeyListSpool {
    let spool = try KeyListSpool()
    var isTooLong = false
    while let entries = try await next() {
      for entry in entries { spool.append(entry, limit: partitionLimit, &isTooLong) }
      guard !isTooLong else {
        let reason =
          "the list is too long: more than \(partitionLimit) entries in one of its \(partitionCount) partitions"
        throw BadList(problems: [KeyListProblem(line: 0, reason: reason)], gaveUp: true, wasReadToEnd: false)
      }
      try spool.flush(atLeast: 64 << 10)
    }
    try spool.flush(atLeast: 1)
    let problems = try spool.listedTwice()
    guard problems.isEmpty else {
      throw BadList(problems: problems, gaveUp: problems.count >= problemLimit, wasReadToEnd: true)
    }
    return spool
  }

  /// The entries of one partition. Identical entries of a key are returned once.
  public func entries(ofPartition index: Int) throws -> [KeyListEntry] {
    var seen: Set<KeyID> = []
    return try allEntries(ofPartition: index).filter { seen.insert($0.key).inserted }
  }

  /// Problems for keys that are listed more than once with different values.
  private func listedTwice() throws -> [KeyListProblem] {
    var problems: [KeyListProblem] = []
    for index in 0..<Self.partitionCount {
      var first: [KeyID: KeyListEntry] = [:]
      for entry in try allEntries(ofPartition: index) {
        guard let former = first[entry.key] else {
          first[entry.key] = entry
          continue
        }
        if former.account != entry.account || former.state != entry.state || former.revision != entry.revision
          || former.expiry != entry.expiry
        {
          problems.append(
            KeyListProblem(
              line: entry.line,
              reason: "line \(former.line) has this key with another account, state, revision or expiry")
          )
          if problems.count >= Self.problemLimit { return problems }
        }
      }
    }
    return problems
  }

  // An entry on disk: id (32), state (1, 255 for none), revision (8, all ones for none), line (8), end (8, all ones to
  // leave it, one less to remove it), length of the account (1), account.
  private static let fixedSize = KeyID.byteCount + 26

  private func append(_ entry: KeyListEntry, limit: Int, _ isTooMany: inout Bool) {
    let partition = entry.key.bucket(of: Self.partitionCount)
    counts[partition] += 1
    guard counts[partition] <= limit else {
      isTooMany = true
      return
    }
    pending[partition] += entry.key.bytes
    pending[partition].append(entry.state?.rawValue ?? .max)
    withUnsafeBytes(of: (entry.revision ?? .max).littleEndian) { pending[partition] += $0 }
    withUnsafeBytes(of: UInt64(entry.line).littleEndian) { pending[partition] += $0 }
    withUnsafeBytes(of: entry.expiry.number.littleEndian) { pending[partition] += $0 }
    pending[partition].append(UInt8(entry.account.utf8.count))
    pending[partition] += entry.account.utf8
    entryCount += 1
  }

  private func flush(atLeast threshold: Int) throws {
    for index in pending.indices where pending[index].count >= threshold {
      do {
        try files[index].write(contentsOf: pending[index])
      } catch {
        throw KeyListProblem(
          line: 0,
          reason: "can't write a temporary copy of the list in \(FileManager.default.temporaryDirectory.path): "
            + error.localizedDescription)
      }
      pending[index].removeAll(keepingCapacity: true)
    }
  }

  private func allEntries(ofPartition index: Int) throws -> [KeyListEntry] {
    try files[index].seek(toOffset: 0)
    let data = try files[index].readToEnd() ?? Data()
    return try data.withUnsafeBytes { bytes in
      var entries: [KeyListEntry] = []
      entries.reserveCapacity(counts[index])
      var at = 0
      while at < bytes.count {
        let account = at + Self.fixedSize
        guard account <= bytes.count, case let end = account + Int(bytes[account - 1]), end <= bytes.count,
          let key = KeyID(bytes: bytes[at..<at + KeyID.byteCount]),
          case let state = bytes[at + KeyID.byteCount], state == .max || KeyState(rawValue: state) != nil
        else { throw KeyListProblem(line: 0, reason: "the temporary copy of the list was damaged") }
        func number(_ offset: Int) -> UInt64 {
          UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at + KeyID.byteCount + offset, as: UInt64.self))
        }
        let revision = number(1)
        entries.append(
          KeyListEntry(
            key: key, state: KeyState(rawValue: state), account: String(decoding: bytes[account..<end], as: UTF8.self),
            revision: revision == .max ? nil : revision, expiry: ExpiryChange(number: number(17)),
            line: Int(number(9))))
        at = end
      }
      return entries
    }
  }
}

extension ExpiryChange {
  /// As on disk.
  fileprivate var number: UInt64 {
    switch self {
    case .keep: .max
    case .remove: .max - 1
    case .set(let seconds): UInt64(seconds)
    }
  }

  fileprivate init(number: UInt64) {
    switch number {
    case .max: self = .keep
    case .max - 1: self = .remove
    default: self = .set(Int64(number))
    }
  }
}
