// A folder of files, in each of them one line of JSON per payload:
//
//     payloads.jsonl                                  the open one
//     payloads-20261127T201512.123Z.jsonl             finished, and about to be compressed
//     payloads-20261127T201512.123Z.jsonl.zst         finished; it never changes again
//     .payloads-20261127T201512.123Z.ids              its IDs, 16 bytes each, as long as they are remembered
//
// After a crash there may be: an incomplete line at the end of the open file (it was never acknowledged, and is removed
// at the next start); a file that isn't compressed, or only partly (it is compressed again); a file in both forms (the
// compressed one was renamed into place after its fsync, so it is complete).

internal import Foundation
internal import IngestQueue

/// The names in a folder, and the data that is read from them at the start.
struct PayloadFolder {
  let path: String

  var open: String { "\(path)/payloads.jsonl" }

  func plain(_ name: String) -> String { "\(path)/\(name).jsonl" }
  func compressed(_ name: String) -> String { "\(path)/\(name).jsonl.zst" }
  func ids(_ name: String) -> String { "\(path)/.\(name).ids" }

  /// A name that no file has, made from the time.
  func unusedName() -> String {
    let format = DateFormatter()
    format.locale = Locale(identifier: "en_US_POSIX")
    format.timeZone = TimeZone(secondsFromGMT: 0)
    format.dateFormat = "yyyyMMdd'T'HHmmss.SSS'Z'"
    var time = Date()
    while true {
      let name = "payloads-\(format.string(from: time))"
      let taken = [plain(name), compressed(name)].contains { FileManager.default.fileExists(atPath: $0) }
      if !taken { return name }
      time += 0.001
    }
  }

  /// The names of the finished files with this ending, in the order of time.
  func names(ending: String, beginning: String = "payloads-") throws(SinkFailure) -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: path)
        .filter { $0.hasPrefix(beginning) && $0.hasSuffix(ending) }
        .map { String($0.dropFirst(beginning.count - "payloads-".count).dropLast(ending.count)) }.sorted()
    } catch {
      throw SinkFailure("can't read the folder \(path): \((error as NSError).localizedDescription)")
    }
  }

  /// The IDs in a file of lines.
  /// - Returns: The IDs, and the end of the last whole line.
  static func readLines(_ file: FileDescriptor) throws(SinkFailure) -> (ids: Set<UInt128>, end: Int) {
    var ids: Set<UInt128> = []
    var end = 0
    var place = 0
    var head: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = try file.read(into: &buffer)
      guard count > 0 else { return (ids, end) }
      for byte in buffer[..<count] {
        place += 1
        if byte == UInt8(ascii: "\n") {
          if let id = PayloadLine.id(in: head) { ids.insert(id.bits) }
          head.removeAll(keepingCapacity: true)
          end = place
        } else if head.count < PayloadLine.headLength {
          head.append(byte)
        }
      }
    }
  }

  /// The time since a file was last written.
  static func age(of path: String) throws(SinkFailure) -> Duration {
    var there = stat()
    guard stat(path, &there) == 0 else { throw FileDescriptor.failure("stat", path) }
    return .seconds(max(0, Date().timeIntervalSince1970 - Double(there.st_mtim.tv_sec)))
  }
}
