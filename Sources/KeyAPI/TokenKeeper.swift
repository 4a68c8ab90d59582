// Reads the file of tokens again when it changes and on SIGHUP. If the file can't be used, the old tokens stay in use,
// with a line in the log: a file that is only half written must not lock out every application.

internal import Listening
internal import Logging
internal import ServiceLifecycle

struct TokenKeeper: Service {
  let tokens: BearerTokens
  /// The time between two checks of the file.
  var interval = Duration.seconds(2)
  let logger: Logger

  func run() async throws {
    await ReloadedFile.watch(
      every: interval,
      hangup: {
        reload(because: "SIGHUP")
      },
      look: {
        if tokens.fileHasChanged { reload(because: "the file has changed") }
      })
  }

  /// Reads the file again. Blocks.
  private func reload(because reason: String) {
    let metadata: Logger.Metadata = ["trigger": "\(reason)", "file": "\(tokens.file)"]
    do throws(UnusableTokens) {
      let count = try tokens.reload()
      if count == 0 {
        logger.warning("there are no bearer tokens any more: every request is answered 401", metadata: metadata)
      } else {
        logger.notice("bearer tokens read", metadata: metadata.merging(["tokens": "\(count)"]) { $1 })
      }
    } catch {
      logger.error(
        "reading the bearer tokens failed; keeping the previous ones",
        metadata: metadata.merging(["reason": "\(error)"]) { $1 })
    }
  }
}
