// Drains the spool while the node runs, and a little longer: it ends after the listener, when no more payloads can
// arrive.

internal import IngestQueue
internal import IngestSpool
internal import Listening
internal import Logging
internal import NIOCore
internal import ServiceLifecycle

struct SpoolKeeper: Service {
  let spool: Spool
  /// Used only for the drain.
  let producer: QueueProducer
  let stopping: StopFlag
  /// Maximum time to end the node, from the signal on.
  let stopTime: Duration
  let logger: Logger

  func run() async throws {
    let drain = SpoolDrain(spool, logger: logger) { [producer] in producer.submit($0, payload: $1) }
    await cancelWhenGracefulShutdown { await drain.run() }
    // A node that fails ends at once.
    if let since = stopping.since { await drain.finish(by: since + stopTime) }
    try await producer.drain().get()
    let left = try await spool.close()
    if left > 0 {
      logger.warning(
        "payloads remain in the spool for the next start of this node", metadata: ["payloads": "\(left)"])
    } else if spool.figures.setAside == 0 {
      logger.notice("spool empty")
    }
    if spool.figures.setAside > 0 {
      logger.error(
        "spooled payloads set aside, because Redis rejects them. Stop the node, then: sync-status spool list FOLDER",
        metadata: ["payloads": "\(spool.figures.setAside)"])
    }
  }
}
