// Reads the file of tokens again when it changes and on SIGHUP. If the file can't be used, the old tokens stay in use,
// with a line in the log: a file that is only half written must not lock out every application.

internal import Logging
internal import NIOPosix
internal import ServiceLifecycle
internal import UnixSignals

struct TokenKeeper: Service {
  let tokens: BearerTokens
  /// The time between two checks of the file.
  var interval = Duration.seconds(2)
  let logger: Logger

  func run() async throws {
    await cancelWhenGracefulShutdown {
      // From here on SIGHUP doesn't end the process.
      let hangups = await UnixSignalsSequence(trapping: .sighup)
      await withDiscardingTaskGroup { group in
        group.addTask { for await _ in hangups { await reload(because: "SIGHUP") } }
        while !Task.isCancelled {
          do { try await Task.sleep(for: interval) } catch { break }
          let hasChanged = await aside { tokens.fileHasChanged }
          if hasChanged == true { await reload(because: "the file has changed") }
        }
        group.cancelAll()
      }
    }
  }

  func reload(because reason: String) async {
    let result = await aside { () -> Result<Int, UnusableTokens> in
      do throws(UnusableTokens) { return .success(try tokens.reload()) } catch { return .failure(error) }
    }
    let metadata: Logger.Metadata = ["trigger": "\(reason)", "file": "\(tokens.file)"]
    switch result {
    case .success(0):
      logger.warning("there are no bearer tokens any more: every request is answered 401", metadata: metadata)
    case .success(let count):
      logger.notice("bearer tokens read", metadata: metadata.merging(["tokens": "\(count)"]) { $1 })
    case .failure(let error):
      logger.error(
        "reading the bearer tokens failed; keeping the previous ones",
        metadata: metadata.merging(["reason": "\(error)"]) { $1 })
    case nil: break
    }
  }

  /// Runs the body on NIO's thread pool, because reading a file may block.
  private func aside<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
    do {
      return try await NIOThreadPool.singleton.runIfActive(body)
    } catch {
      // The process's shared pool never ends. So the process ended before the work began, and there is nothing to do.
      return nil
    }
  }
}
