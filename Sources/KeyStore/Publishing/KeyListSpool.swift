// A key list, read and checked as a whole before anything of it is written to the store.
//
// Why a spool: a bad line near the end must not leave the first half applied; a pipe can be read only once; and a list of ten million
// keys must not have to fit into memory. So the list is parsed once into temporary files, split by the first bits of the
// key ids, 16 store buckets to a file. Each file is then small enough to be looked at as a whole: for keys that are listed twice, and
// by `sync` for the difference to the store. Only hashed ids reach the disk, never a secret, and the files have no names any more
// once they are open, so that nothing is left behind however the process ends.

public import Foundation
import KeyReplica
import PrivateFiles

/// A key list on disk, checked and split.
public final class KeyListSpool {
  /// How many files: each holds the entries of so many neighbouring store buckets.
  public static let partitionCount = 64
  static let bucketsPerPartition = StoreLayout.bucketCount / partitionCount

  public private(set) var entryCount = 0
  /// How many of the entries aren't active.
  public private(set) var inactiveCount = 0
  private var files: [FileHandle] = []
  private var pending: [[UInt8]]

  /// The most problems that are collected before reading is given up.
  public static let problemLimit = 20

  private init() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("key-publisher-\(UUID().uuidString)")
    try PrivateFolder.makeNew(folder.path)
    defer {
      do {
        try FileManager.default.removeItem(at: folder)
      } catch {
        FileHandle.standardError.write(Data("can't remove \(folder.path): \(error)\n".utf8))
      }
    }
    pending = Array(repeating: [], count: Self.partitionCount)
    for index in 0..<Self.partitionCount {
      let descriptor = try PrivateFile.replace(folder.appendingPathComponent("\(index)").path)
      files.append(FileHandle(fileDescriptor: descriptor, closeOnDealloc: false))
    }
  }

  deinit {
    for file in files { file.closeFile() }
  }

  /// A list that has problems; nothing of it was written to the store.
  public struct BadList: Error, CustomStringConvertible {
    public let problems: [KeyListProblem]
    /// Whether there may be more.
    public let gaveUp: Bool

    public var description: String {
      problems.map(\.description).joined(separator: "\n") + (gaveUp ? "\n… and perhaps more" : "")
    }
  }

  /// Reads and checks a whole list.
  /// - Parameter progress: Called now and then with entries and bytes read so far.
  /// - Throws: ``BadList`` with the lines that can't be taken.
  public static func reading(
    _ file: FileHandle, progress: (_ entries: Int, _ bytes: Int) -> Void = { _, _ in }
  ) throws -> KeyListSpool {
    let spool = try KeyListSpool()
    var lines = LineReader(file)
    var parser = KeyListParser()
    var problems: [KeyListProblem] = []
    var number = 0
    var tooLong = false
    do {
      while problems.count < problemLimit, let line = try lines.next() {
        number += 1
        do throws(KeyListProblem) {
          guard let entry = try parser.parse(line) else { continue }
          spool.append(entry)
        } catch {
          problems.append(error)
          // Without a header nothing after it can be understood.
          if !parser.knowsFormat { throw BadList(problems: problems, gaveUp: false) }
        }
        if number.isMultiple(of: 4096) {
          try spool.flush(atLeast: 64 << 10)
          progress(spool.entryCount, lines.bytesRead)
        }
      }
    } catch let error as LineReader.TooLong {
      problems.append(KeyListProblem(line: number + 1, reason: "\(error)"))
      tooLong = true
    }
    try spool.flush(atLeast: 1)
    if problems.isEmpty { problems = try spool.listedTwice() }
    guard problems.isEmpty else { throw BadList(problems: problems, gaveUp: tooLong || problems.count >= problemLimit) }
    progress(spool.entryCount, lines.bytesRead)
    return spool
  }

  /// The entries of one partition; a key that is listed twice alike is there once.
  public func entries(ofPartition index: Int) throws -> [KeyListEntry] {
    var seen: Set<KeyID> = []
    return try allEntries(ofPartition: index).filter { seen.insert($0.key).inserted }
  }

  /// Problems for keys that are listed more than once and not alike.
  private func listedTwice() throws -> [KeyListProblem] {
    var problems: [KeyListProblem] = []
    for index in 0..<Self.partitionCount {
      var first: [KeyID: KeyListEntry] = [:]
      for entry in try allEntries(ofPartition: index) {
        guard let former = first[entry.key] else {
          first[entry.key] = entry
          continue
        }
        if former.account != entry.account || former.state != entry.state {
          problems.append(
            KeyListProblem(
              line: entry.line,
              reason: "the key was listed on line \(former.line) already, with another account or state"))
          if problems.count >= Self.problemLimit { return problems }
        }
      }
    }
    return problems
  }

  // An entry on disk: id (32), state (1), line (8), length of the account (1), account.

  private func append(_ entry: KeyListEntry) {
    let partition = entry.key.bucket(of: Self.partitionCount)
    pending[partition] += entry.key.bytes
    pending[partition].append(entry.state.rawValue)
    withUnsafeBytes(of: UInt64(entry.line).littleEndian) { pending[partition] += $0 }
    pending[partition].append(UInt8(entry.account.utf8.count))
    pending[partition] += entry.account.utf8
    entryCount += 1
    if entry.state != .active { inactiveCount += 1 }
  }

  private func flush(atLeast threshold: Int) throws {
    for index in pending.indices where pending[index].count >= threshold {
      try files[index].write(contentsOf: pending[index])
      pending[index].removeAll(keepingCapacity: true)
    }
  }

  private func allEntries(ofPartition index: Int) throws -> [KeyListEntry] {
    try files[index].seek(toOffset: 0)
    let bytes = [UInt8](try files[index].readToEnd() ?? Data())
    var entries: [KeyListEntry] = []
    var at = 0
    while at < bytes.count {
      let fixed = KeyID.byteCount + 10
      guard at + fixed <= bytes.count, case let end = at + fixed + Int(bytes[at + fixed - 1]), end <= bytes.count,
        let key = KeyID(bytes: bytes[at..<at + KeyID.byteCount]), let state = KeyState(rawValue: bytes[at + 32])
      else { throw KeyListProblem(line: 0, reason: "the temporary copy of the list was damaged") }
      let line = bytes[(at + 33)..<(at + 41)].reversed().reduce(0) { $0 << 8 | Int($1) }
      entries.append(
        KeyListEntry(
          key: key, state: state, account: String(decoding: bytes[(at + fixed)..<end], as: UTF8.self), line: line))
      at = end
    }
    return entries
  }
}
