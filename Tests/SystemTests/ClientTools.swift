// The programs from PyPI that Scripts/clients installs, found as it names their folders.

import Crypto
import Foundation
import RedisFixture

enum ClientTools {
  private static let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

  /// The Python that has a set's packages. Their programs are run as its modules: the folder was moved since they were
  /// installed.
  /// - Parameter set: The folder in Tests with its requirements.txt.
  static func python(with set: String) throws -> String {
    let requirements = try Data(contentsOf: tests.appending(path: "\(set)/requirements.txt"))
    let sum = SHA256.hash(data: requirements).prefix(8).map {
      String($0 >> 4, radix: 16) + String($0 & 15, radix: 16)
    }
    let folder = tests.deletingLastPathComponent().appending(path: ".build/clients/\(sum.joined())")
    let path = folder.appending(path: "bin/python").path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw NeverHappened(description: "\(set) aren't installed in \(folder.path): run Scripts/clients")
    }
    return path
  }
}
