// The IDs that a folder of files is known to contain: those of the open file, and of files that were finished recently.
// A file can't be queried for an ID as a table can, so older IDs are forgotten. An envelope is delivered a second time
// within a few leases, unless Redis or the worker was down for longer.

internal import IngestQueue

/// IDs by file, the oldest file first.
struct RecentIDs {
  private var files: [(name: String, finished: ContinuousClock.Instant, ids: Set<UInt128>)] = []
  /// The IDs in the open file.
  private(set) var open: Set<UInt128> = []

  /// How long a finished file's IDs are remembered, and the maximum number of IDs. Beyond it the oldest file's IDs are
  /// forgotten first.
  static let window = Duration.seconds(900)
  private static let most = 4_000_000

  func contains(_ id: EnvelopeID) -> Bool { open.contains(id.bits) || files.contains { $0.ids.contains(id.bits) } }

  mutating func add(_ id: EnvelopeID) { open.insert(id.bits) }

  /// Sets the IDs of the open file.
  mutating func replaceOpen(by ids: Set<UInt128>) { open = ids }

  /// Records that the open file was finished with this name. The next one is empty.
  mutating func finish(_ name: String, at now: ContinuousClock.Instant) {
    files.append((name, now, open))
    open = []
  }

  /// Adds a file that was finished before this process started.
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
