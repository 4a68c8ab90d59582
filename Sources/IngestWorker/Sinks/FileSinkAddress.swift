// The address of a folder, with the maximum size and age of a file in it.

/// A folder of files, as an operator writes it: `files:FOLDER?size=64&age=3600`.
public struct FileSinkAddress: Sendable, Equatable, CustomStringConvertible {
  let folder: String
  /// The size at which a file is finished.
  let size: Int
  /// The age at which a file is finished, unless it is empty.
  let age: Duration

  /// The form of an address, to follow the word "expected".
  public static let expectation = "files:FOLDER, with ?size=1…1024 (MiB) and ?age=1…86400 (seconds) as one likes"

  init(_ text: String) throws(InvalidSinkAddress) {
    let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard let folder = parts.first, !folder.isEmpty else { throw InvalidSinkAddress("expected \(Self.expectation)") }
    var size = 64
    var age = 3_600
    for option in parts.count > 1 ? parts[1].split(separator: "&") : [] {
      let pair = option.split(separator: "=", maxSplits: 1)
      switch (pair[0], pair.count == 2 ? Int(pair[1]) : nil) {
      case ("size", .some(let number)) where 1...1_024 ~= number: size = number
      case ("age", .some(let number)) where 1...86_400 ~= number: age = number
      default: throw InvalidSinkAddress("expected \(Self.expectation), got \"\(option.prefix(100))\"")
      }
    }
    self.init(folder: String(folder), size: size << 20, age: .seconds(age))
  }

  init(folder: String, size: Int = 64 << 20, age: Duration = .seconds(3_600)) {
    self.folder = folder
    self.size = size
    self.age = age
  }

  public var description: String { "files:\(folder)" }
}
