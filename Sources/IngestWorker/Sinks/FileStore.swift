// Appends lines to one open file, and fsyncs them before they are reported as stored.
//
// After a failed write the file is cut back to its stored part. After a failed fsync it is unknown which part is on
// disk (the kernel may have discarded pages that it couldn't write, and reports that only once). So the file is left
// unchanged and the next lines go into another file.

internal import Foundation
internal import IngestQueue
internal import Logging
internal import NIOCore
internal import PrivateFiles

struct FileStore: BlockingStore {
  private let address: FileSinkAddress
  private let folder: PayloadFolder
  private let compression: FileCompression
  private let logger: Logger
  private var lock: FolderLock?
  private var file: FileDescriptor?
  private var length = 0
  /// An fsync of the open file has failed.
  private var isSuspect = false
  private var begun = ContinuousClock.now
  private var recent = RecentIDs()

  /// Creates the folder if it doesn't exist, and continues with its files.
  init(_ address: FileSinkAddress, logger: Logger) throws(SinkFailure) {
    self.address = address
    self.logger = logger
    folder = PayloadFolder(path: address.folder)
    try FileDescriptor.refusing { () throws(UnusablePath) in try PrivateFolder.make(address.folder) }
    lock = try FolderLock(folder: address.folder)
    compression = FileCompression(folder, logger: logger)
    try compression.takeUp()
    try rememberFinished()
    try open()
  }

  mutating func store(_ deliveries: [Delivery], _ patience: CancellationCheck) throws(SinkFailure) -> [SinkOutcome] {
    if file?.isInPlace != true || lock?.isInPlace != true { try takeUpAgain() }
    guard let file else { throw SinkFailure("\(folder.open) isn't open") }
    var lines = ByteBuffer()
    var new: Set<UInt128> = []
    let outcomes = deliveries.map { delivery in
      let id = delivery.header.id
      guard !recent.contains(id), new.insert(id.bits).inserted else { return SinkOutcome.duplicate }
      PayloadLine(delivery).write(to: &lines)
      return .stored
    }
    guard !new.isEmpty else { return outcomes }
    do throws(SinkFailure) {
      try lines.withUnsafeReadableBytes { file.write($0) }.get()
    } catch {
      // If the truncation fails too, the file is opened again, which removes an incomplete last line.
      do throws(SinkFailure) { try file.truncate(to: length) } catch { self.file = nil }
      throw error
    }
    do throws(SinkFailure) { try file.sync() } catch {
      self.file = nil
      isSuspect = true
      throw error
    }
    for delivery in deliveries { recent.add(delivery.header.id) }
    length += lines.readableBytes
    if length >= address.size { try finish() }
    return outcomes
  }

  /// Finishes the open file if it is old enough.
  mutating func performMaintenance() {
    guard file != nil, length > 0, ContinuousClock.now - begun >= address.age else { return }
    do throws(SinkFailure) { try finish() } catch {
      // The next batch gets the same error, and reports it to its lane.
      logger.error("finishing a file failed", metadata: ["reason": "\(error)"])
    }
  }

  mutating func close() throws(SinkFailure) {
    file = nil
    compression.finish()
    lock = nil
  }

  // MARK: Files

  /// Called when the folder, or a file in it, was moved away: it may be back.
  private mutating func takeUpAgain() throws(SinkFailure) {
    file = nil
    if lock?.isInPlace != true { lock = try FolderLock(folder: address.folder) }
    if isSuspect { try abandon() }
    try open()
  }

  /// Opens the open file, or creates it. Afterwards its content is on disk, and consists of whole lines.
  private mutating func open() throws(SinkFailure) {
    let opened = try FileDescriptor(folder.open, O_RDWR | O_CREAT)
    let (ids, end) = try PayloadFolder.readLines(opened)
    try opened.truncate(to: end)
    try opened.sync()
    try FileDescriptor.syncFolder(of: folder.open)
    recent.replaceOpen(by: ids)
    length = end
    begun = .now
    if end > 0 { begun = .now - (try PayloadFolder.age(of: folder.open)) }
    file = opened
  }

  private mutating func finish() throws(SinkFailure) {
    file = nil
    let name = folder.unusedName()
    // The IDs are written first. So a finished file without IDs isn't compressed either.
    try writeIDs(recent.open, to: folder.ids(name))
    try FileDescriptor.rename(folder.open, to: folder.plain(name))
    recent.finish(name, at: .now)
    for forgotten in recent.forget(at: .now) { try FileDescriptor.remove(folder.ids(forgotten)) }
    try open()
    compression.compress(name)
  }

  /// Abandons the open file, because it is unknown how much of it is on disk. Its content stays unchanged.
  private mutating func abandon() throws(SinkFailure) {
    let name = folder.unusedName()
    try FileDescriptor.rename(folder.open, to: folder.plain(name))
    isSuspect = false
    let ids = recent.open
    recent.finish(name, at: .now)
    try writeIDs(ids, to: folder.ids(name))
  }

  private func writeIDs(_ ids: Set<UInt128>, to path: String) throws(SinkFailure) {
    let file = try FileDescriptor(replacing: path)
    var bytes = ByteBuffer()
    for id in ids { bytes.writeInteger(id) }
    try bytes.withUnsafeReadableBytes { file.write($0) }.get()
    try file.sync()
  }

  private mutating func rememberFinished() throws(SinkFailure) {
    let now = ContinuousClock.now
    for name in try folder.names(ending: ".ids", beginning: ".payloads-") {
      let path = folder.ids(name)
      let age = try PayloadFolder.age(of: path)
      guard age <= RecentIDs.window else {
        try FileDescriptor.remove(path)
        continue
      }
      var ids: Set<UInt128> = []
      var buffer = [UInt8](repeating: 0, count: 1 << 20)
      let file = try FileDescriptor(path, O_RDONLY)
      while case let count = try file.read(into: &buffer), count > 0 {
        var bytes = ByteBuffer(bytes: buffer[..<count])
        while let id = bytes.readInteger(as: UInt128.self) { ids.insert(id) }
      }
      recent.remember(name, finished: now - age, ids)
    }
    _ = recent.forget(at: now)
  }
}
