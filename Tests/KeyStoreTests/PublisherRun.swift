// Runs key-publisher to its end, and keeps its output.

import Foundation
import Hiredis
import KeyReplica
import RedisClient
import RedisFixture

@testable import KeyStore

/// One run of the real program.
struct PublisherRun {
  let status: RedisFixture.ExitStatus
  let output: String
  let errors: String

  /// Runs it to its end on a bench's Redis, with an input of the shell's making if one is given.
  static func of(
    _ store: StoreBench?, _ arguments: [String], input: String? = nil, environment: [String: String] = [:]
  ) async throws -> PublisherRun {
    var environment = environment
    if let store { environment["SLUICE_REDIS"] = store.redis.endpoint.description }
    let process: ServiceProcess
    if let input {
      environment["INPUT"] = input
      process = try await ServiceProcess.start(
        "/bin/sh", ["-c", #"printf '%s' "$INPUT" | "$0" "$@""#, program] + arguments, environment: environment)
    } else {
      process = try await ServiceProcess.start("key-publisher", arguments, environment: environment)
    }
    return try await end(of: process)
  }

  /// Begins it, and goes on.
  static func begin(
    _ store: StoreBench, _ arguments: [String], environment: [String: String] = [:]
  ) async throws -> ServiceProcess {
    let environment = environment.merging(["SLUICE_REDIS": store.redis.endpoint.description]) { given, _ in given }
    return try await ServiceProcess.start("key-publisher", arguments, environment: environment)
  }

  static func end(of process: ServiceProcess) async throws -> PublisherRun {
    let status = try await process.waitForExit(within: .seconds(60))
    try await process.waitForOutputs()
    return PublisherRun(
      status: status, output: process.standardOutput.text, errors: process.standardError.text)
  }

  /// Where the program is.
  static var program: String { ServiceProcess.folder.appendingPathComponent("key-publisher").path }

  /// What it printed, as JSON.
  var json: Result {
    get throws {
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      return try decoder.decode(Result.self, from: Data(output.utf8))
    }
  }

  /// Members of the verbs' results.
  struct Result: Decodable {
    var keyId: String?
    var account: String?
    var state: String?
    var since: Int64?
    var expiresAt: Int64?
    var revision: UInt64?
    var version: UInt64?
    var dryRun: Bool?
    var added: Int?
    var revoked: Int?
    var keys: Int?
    var waiting: Int?
    var revokedAt: Int64?
    /// Some count what they changed, and some say whether they changed it.
    var changed: Changed?
  }

  enum Changed: Decodable, Equatable {
    case count(Int)
    case yes
    case no

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let isChanged = try? container.decode(Bool.self) {
        self = isChanged ? .yes : .no
      } else {
        self = .count(try container.decode(Int.self))
      }
    }
  }
}

extension StoreBench {
  func state(of secret: String) async throws -> KeyState? {
    try await connection.storedRecord(of: KeyID(secret: secret.utf8), layout)?.state
  }

  /// How many keys Redis has, of whatever kind.
  func size() async throws -> Int64 { try await run("DBSIZE").integer() }
}
