// Saves the mirror periodically and when the node ends, so that its next start admits the known keys even if the store
// can't be reached then.

internal import Foundation
internal import KeyReplica
internal import KeyStore
internal import Logging
internal import NIOCore
internal import NIOPosix
internal import ServiceLifecycle

struct StateKeeper: Service {
  let file: StateFile
  /// The mirrored store's address, without secrets.
  let source: String
  let replica: ReplicaDriver
  let logger: Logger

  private static let interval = Duration.seconds(60)

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        do { try await Task.sleep(for: Self.interval) } catch { return }
        await save()
      }
    }
    await save()
  }

  /// A node that can't save works on; its next start is a cold one.
  private func save() async {
    do {
      guard let image = try await replica.image(source: source).get() else { return }
      // Encoding and syncing some tens of megabytes would block a thread that answers requests.
      try await NIOThreadPool.singleton.runIfActive { try file.save(image) }
    } catch {
      logger.error(
        "saving the state file failed: the next start begins with an older copy of the mirror, or without any",
        metadata: ["reason": "\(error)"])
    }
  }

  /// The mirror that an earlier process of this node saved; nil for a cold start.
  static func restore(_ file: StateFile, source: String, logger: Logger) -> MirrorImage? {
    do {
      guard let image = try file.load(source: source) else {
        logger.notice("no state file: keys are answered 503 until the mirror is loaded from Redis")
        return nil
      }
      let age = Int(Date().timeIntervalSince1970 - image.heardAt)
      logger.notice(
        "mirror restored from the state file",
        metadata: [
          "keys": "\(image.table.count)", "age_seconds": "\(age)",
          "store": "\(image.memory.map { "\($0.store)" } ?? "unknown")",
        ])
      return image
    } catch {
      logger.error(
        "state file unusable: keys are answered 503 until the mirror is loaded from Redis. The next save replaces the file",
        metadata: ["reason": "\(error)"])
      return nil
    }
  }
}
