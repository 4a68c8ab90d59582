import ArgumentParser
import CommandSupport
import KeyStore
import NIOCore
import RedisClient

/// The common arguments of verbs that write: a change is done only when all servers that could become primary have it.
struct StoreWriting: ParsableArguments {
  @OptionGroup var store: StoreAccess

  private static let confirmWait = Setting<Duration>(
    "confirm-wait",
    "How long to wait for the declared replicas to confirm the change. Then the exit status is 75.",
    shown: "time", default: "5s", in: .milliseconds(100) ... .seconds(600))
  @Option(help: Self.confirmWait.help) var confirmWait: String?

  func results() throws -> Results { try store.results() }

  func run(_ body: (RedisConnection, StoreLayout) async throws -> Void) async throws {
    let wait = try Settings().value(Self.confirmWait, given: confirmWait)
    try await store.run { connection, layout in
      try await body(connection, layout)
      let isWatched = try store.redis.endpoint(Settings()).isWatched
      try await confirm(
        Replication(connection: connection, layout: layout, isWatched: isWatched), within: TimeAmount(wait))
    }
  }

  private func confirm(_ replication: Replication, within limit: TimeAmount) async throws {
    var objection: String?
    do {
      let confirmation = try await replication.confirm(within: limit)
      if confirmation.declaredNow {
        let replicas =
          confirmation.declared == 1
          ? "1 replica of this Redis and declared it"
          : "\(confirmation.declared) replicas of this Redis and declared them"
        try store.results().remark(
          "found \(replicas): from now on a change is confirmed when every declared replica has it. To change the "
            + "number: key-publisher replicas N")
      }
      objection = confirmation.objection
    } catch let error as ExitCode {
      throw error
    } catch {
      objection = "\(error)"
    }
    guard let objection else { return }
    complain(
      "the change is in the primary, but isn't confirmed: \(objection). A failover could lose it; run the verb again to confirm it."
    )
    throw ExitStatus.tryAgain.code
  }
}
