// sync-status: how complete and how fresh every node's mirror of the keys is. The module Fleet decides what is wrong,
// and writes the text; this module has the command line, the terminal and the exit status.

import ArgumentParser
import Fleet
import Foundation
import IngestQueue
import RedisClient
import CommandSupport

@main
struct SyncStatus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sync-status",
    abstract: "Shows whether every ingest node mirrors all keys, and what is wrong if not.",
    discussion: """
      Exit status: 0 all nodes are in sync and accept payloads; 1 something is wrong, see the output; 2 unknown: Redis is \
      unreachable or unreadable; 64 usage error.

      A node is in sync if its last report is at most 5 seconds old, the store is sealed, and by that report the mirror is \
      complete, verified and at most 5 seconds behind the store.
      """,
    version: BuildDescription.current,
    subcommands: [Show.self, Wait.self, Forget.self, Queue.self, Dead.self, SpoolVerbs.self],
    defaultSubcommand: Show.self)
}

/// Exit statuses that aren't success.
enum Outcome {
  static let notInSync = ExitCode(1)
  static let cannotTell = ExitCode(2)
}

/// The options of every subcommand: the Redis, and connections to it and to the queue's.
struct FleetAccess: ParsableArguments {
  @OptionGroup var redis: RedisArguments
  @OptionGroup var queue: QueueArguments

  /// - Throws: The body's error, or `ValidationError`.
  func run(_ body: (Fleet) async throws -> Void) async throws {
    let settings = Settings()
    let endpoint = try redis.endpoint(settings)
    let namespace = try redis.namespace(settings)
    let connections = Connections(
      to: endpoint, namespace: namespace, and: try queue.shards(settings, redis: endpoint, namespace: namespace))
    defer { connections.shutDown() }
    try await body(
      Fleet(
        keys: connections.keys, reports: connections.reports, shards: connections.shards, namespace: namespace))
  }

  struct Fleet {
    let keys: RedisClient
    /// For the reports of the fleet's members.
    let reports: RedisClient
    let shards: [(client: RedisClient, layout: QueueLayout)]
    let namespace: Namespace

    var place: String { "\(keys.endpoint), namespace \(namespace)" }
    var directory: FleetDirectory { FleetDirectory(client: reports, layout: FleetLayout(namespace: namespace)) }
  }
}

func complain(_ text: String) {
  FileHandle.standardError.write(Data("sync-status: \(Wording.printable(text))\n".utf8))
}
