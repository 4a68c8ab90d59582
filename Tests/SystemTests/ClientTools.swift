// Finds the programs from PyPI that Scripts/clients has installed. The folder's name is computed as in that script.

import Crypto
import Foundation
import RedisFixture

enum ClientTools {
  private static let tests = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

  /// The Python interpreter with a set's packages. The packages' programs are run as modules of that interpreter,
  /// because their start scripts have the path of another folder: the set was moved after its installation.
  /// - Parameter set: The set's name: its requirements.txt is in the folder of that name in Tests.
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
