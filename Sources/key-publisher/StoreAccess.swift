import ArgumentParser
import CommandSupport
import KeyStore
import NIOCore
import NIOPosix
import RedisClient

/// What every verb needs: the options, and a conversation with Redis for as long as it works.
struct StoreAccess: ParsableArguments {
  @OptionGroup var redis: RedisArguments

  func run(_ body: (RedisConnection, StoreLayout) async throws -> Void) async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let layout = StoreLayout(namespace: try redis.namespace(settings))
    do {
      var options = RedisOptions()
      options.name = "key-publisher"
      options.needsPrimary = true
      // A person or a cron job waits for this, not a client: patience is better than an error.
      options.connectDeadline = .seconds(10)
      let connection = try await RedisConnection.connected(
        to: endpoint, options: options, routedBy: layout.slot, on: MultiThreadedEventLoopGroup.singleton.any())
      defer { connection.close() }
      try await body(connection, layout)
    } catch let error as ExitCode {
      throw error
    } catch let error as ValidationError {
      throw error
    } catch {
      complain("\(error)")
      throw ExitCode(1)
    }
  }
}
