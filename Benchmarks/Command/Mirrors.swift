// Mirrors of a key store: the very driver that a node runs, without the node around it.

import Foundation
import KeyReplica
import KeyStore
import Logging
import NIOCore
import RedisClient

extension ReplicaDriver {
  /// A mirror that is started and begins from nothing.
  static func mirror(of redis: RedisEndpoint, named name: String = "bench", on loop: any EventLoop) -> ReplicaDriver {
    let driver = ReplicaDriver(endpoint: redis, layout: StoreLayout(), name: name, on: loop, logger: .silent)
    driver.start()
    return driver
  }

  /// Returns once the mirror is the whole store, every bucket and the total verified, and may refuse.
  func completed(keys: Int, within limit: Duration = .seconds(120)) async throws {
    let end = ContinuousClock.now + limit
    while true {
      let status = try await status().get()
      if status.completeness.state == .complete, status.sealed, status.objection == nil {
        guard status.keys == keys else { throw CannotMeasure("the mirror has \(status.keys) keys of \(keys)") }
        return
      }
      guard ContinuousClock.now < end else { throw CannotMeasure("the mirror isn't complete: \(status)") }
      try await Task.sleep(for: .milliseconds(1))
    }
  }
}

extension Logger {
  static var silent: Logger {
    var logger = Logger(label: "bench")
    logger.logLevel = .critical
    return logger
  }
}
