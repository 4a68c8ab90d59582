import ArgumentParser
import CommandSupport
import Hiredis
import KeyStore
import NIOCore
import NIOPosix
import RedisClient

/// The common arguments of all verbs: the options, and a connection to Redis.
struct StoreAccess: ParsableArguments {
  @OptionGroup var redis: RedisArguments

  private static let json = Setting.flag("json", "Print the result as JSON.")
  @Flag(help: Self.json.help) var json = false

  func results() throws -> Results { Results(isJSON: try Settings().flag(Self.json, given: json)) }

  func run(_ body: (RedisConnection, StoreLayout) async throws -> Void) async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let layout = StoreLayout(namespace: try redis.namespace(settings))
    do {
      var options = RedisOptions()
      options.name = "key-publisher"
      options.needsPrimary = true
      // A person or a cron job waits for this, not a client, so waiting is better than an error.
      options.connectDeadline = .seconds(10)
      let connection = try await RedisConnection.connected(
        to: endpoint, options: options, routedBy: layout.slot, on: MultiThreadedEventLoopGroup.singleton.any())
      defer { connection.close() }
      try await body(connection, layout)
    } catch let error as ExitCode {
      throw error
    } catch let error as ValidationError {
      throw error
    } catch let error as RedisServerError where error.isOfMovingSlot {
      complain(
        """
        not done: the slot of the keys is moving to another node of the cluster. Run the command again when the move \
        is over; changes already made are skipped (\(error.message))
        """)
      throw ExitStatus.tryAgain.code
    } catch {
      complain("\(error)")
      throw ExitStatus(of: error).code
    }
  }
}

extension ExitStatus {
  /// Whether the same command may succeed later, depending on the error.
  init(of error: any Error) {
    switch error {
    case is Publication.MoreThanAgreed, is Publication.AnotherHistory, is ForgottenChanges, is ListLease.Taken,
      is ExportCommand.Failed, is ExportCommand.CannotStart:
      self = .tryAgain
    default:
      switch StoreFailure(of: error) {
      case .unreachable, .outcomeUnknown, .notNow: self = .tryAgain
      case .notPermitted: self = .notPermitted
      case .failed: self = .failed
      }
    }
  }
}
