// A Redis with a key store in it, as key-publisher makes it.

import Foundation
import RedisFixture

struct PublishedStore {
  let redis: RedisServer
  let folder: TemporaryFolder

  /// A Redis of its own, which keeps nothing on disk unless told to, with the first so many of ``SampleKeys``, sealed.
  static func make(keys: Int, _ options: RedisServerOptions = RedisServerOptions()) async throws -> PublishedStore {
    let redis = try await RedisServer.start(options)
    let folder = try TemporaryFolder()
    let list = folder.url("keys.csv")
    guard FileManager.default.createFile(atPath: list.path, contents: Data("key,account\n".utf8)) else {
      throw CannotMeasure("no file for the list of keys could be made")
    }
    let file = try FileHandle(forWritingTo: list)
    try file.seekToEnd()
    for start in stride(from: 0, to: keys, by: 10_000) {
      var lines = Data()
      for number in start..<min(start + 10_000, keys) {
        lines.append(contentsOf: SampleKeys.secret(number))
        lines.append(contentsOf: ",\(SampleKeys.account(number % SampleKeys.accounts))\n".utf8)
      }
      try file.write(contentsOf: lines)
    }
    try file.close()
    let publisher = try await ServiceProcess.start(
      "key-publisher", ["import", list.path, "--seal"], environment: ["SLUICE_REDIS": "\(redis.tcpEndpoint)"])
    guard try await publisher.waitForExit(within: .seconds(900)) == .exited(0) else {
      throw CannotMeasure("the keys couldn't be published\n\(publisher.outputs)")
    }
    return PublishedStore(redis: redis, folder: folder)
  }

  func remove() async throws {
    try await redis.kill9()
    folder.remove()
  }
}
