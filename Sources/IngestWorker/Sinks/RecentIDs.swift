// The IDs that a folder of files is known to contain: those of the open file, and of the files that were finished
// lately. A file can't be queried for an ID as a table can, so older IDs are forgotten. An envelope is delivered a
// second time within a lease or a few, unless Redis or the worker was down for longer.

internal import IngestQueue

/// Ids by the file that they are in, the oldest file first.
struct RecentIDs {
  private var files: [(name: String, finished: ContinuousClock.Instant, ids: Set<UInt128>)] = []
  /// Of the open file.
  private(set) var open: Set<UInt128> = []

  /// How long a finished file's IDs are remembered, and the maximum number of IDs: beyond it the oldest file's are
  /// forgotten first.
  static let window = Duration.seconds(900)
  private static let most = 4_000_000

  func contains(_ id: EnvelopeID) -> Bool { open.contains(id.bits) || files.contains { $0.ids.contains(id.bits) } }

  mutating func add(_ id: EnvelopeID) { open.insert(id.bits) }

  /// Exactly these are in the open file.
  mutating func replaceOpen(by ids: Set<UInt128>) { open = ids }

  /// The open file was finished with this name; the next one is empty.
  mutating func finish(_ name: String, at now: ContinuousClock.Instant) {
    files.append((name, now, open))
    open = []
  }

  /// A file that was finished before this process began.
  mutating func remember(_ name: String, finished: ContinuousClock.Instant, _ ids: Set<UInt128>) {
    files.append((name, finished, ids))
  }

  /// Forgets IDs that are too old, or too many.
  /// - Returns: The files' names.
  mutating func forget(at now: ContinuousClock.Instant) -> [String] {
    var count = files.reduce(0) { $0 + $1.ids.count }
    var forgotten: [String] = []
    while let oldest = files.first, now - oldest.finished > Self.window || count > Self.most {
      count -= oldest.ids.count
      forgotten.append(oldest.name)
      files.removeFirst()
    }
    return forgotten
  }
}
