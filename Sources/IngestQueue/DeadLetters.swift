// The dead letters: what couldn't be stored, with the reason. Nothing removes one but the people who look after them: read here,
// and put back into the queue when the reason is gone.

internal import Foundation
internal import Hiredis
internal import NIOCore
public import RedisClient

/// An envelope that was given up, and why.
public struct DeadLetter: Sendable, Equatable {
  /// The envelope's id, or the SHA-1 of an element that isn't an envelope.
  public var id: String
  /// The last reason.
  public var reason: String
  /// How often storing it failed.
  public var attempts: Int
  /// How many workers died over it.
  public var deaths: Int
  /// When it failed first and when it was given up, in milliseconds since 1970 by Redis's clock.
  public var firstAt: Int64
  public var diedAt: Int64
  /// Who gave it up; or, where workers died over it, the last of them.
  public var worker: String
  /// Nil where the element isn't an envelope.
  public var account: String?
  /// The element of the queue, byte for byte.
  public var element: [UInt8]

  /// Reads an element of the list of dead letters.
  init(_ bytes: [UInt8]) throws(InvalidEnvelope) {
    guard let lineEnd = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
      throw InvalidEnvelope("expected a dead letter's line of JSON, but no newline came in \(bytes.count) bytes")
    }
    let line: Line
    do {
      line = try JSONDecoder().decode(Line.self, from: Data(bytes[..<lineEnd]))
    } catch {
      throw InvalidEnvelope("expected a dead letter's line of JSON, but it can't be read: \(error)")
    }
    id = line.id
    reason = line.reason
    attempts = line.attempts
    deaths = line.deaths
    firstAt = line.first_at
    diedAt = line.died_at
    worker = line.worker
    account = line.account
    element = Array(bytes[(lineEnd + 1)...])
  }

  private struct Line: Decodable {
    let id: String
    let reason: String
    let attempts: Int
    let deaths: Int
    // swift-format-ignore: AlwaysUseLowerCamelCase
    let first_at: Int64
    // swift-format-ignore: AlwaysUseLowerCamelCase
    let died_at: Int64
    let worker: String
    let account: String?
  }
}

/// Reads and requeues dead letters.
public struct DeadLetters: Sendable {
  private let client: RedisClient
  private let layout: QueueLayout
  private let deadline: TimeAmount = .seconds(5)

  public init(client: RedisClient, layout: QueueLayout = QueueLayout()) {
    self.client = client
    self.layout = layout
  }

  /// The newest ones first. An element that isn't a dead letter is handed out as the reason why it isn't.
  /// - Parameter count: At most so many; each comes with its whole envelope.
  public func newest(_ count: Int) async throws(QueueFailure) -> [Result<DeadLetter, InvalidEnvelope>] {
    guard count > 0 else { return [] }
    let reply: RedisReply
    do {
      reply = try await client.execute(RedisCommand("LRANGE", layout.dead, 0, count - 1), within: deadline)
    } catch {
      throw QueueFailure(error)
    }
    return try QueueFailure.catching {
      try reply.array().map { item in
        let bytes = try item.bytes()
        do throws(InvalidEnvelope) { return .success(try DeadLetter(bytes)) } catch { return .failure(error) }
      }
    }
  }

  /// Puts the oldest ones back into the queue, behind everything that waits, as if they had never failed.
  /// - Returns: How many were put back. An element that isn't a dead letter stays where it is and ends the run.
  public func requeueOldest(_ count: Int) async throws(QueueFailure) -> Int {
    var done = 0
    while done < count {
      // Redis does nothing else while a script runs, so a run is kept short.
      let wanted = min(count - done, 100)
      let reply: RedisReply
      do {
        reply = try await client.execute(
          QueueScripts.requeue, keys: [layout.dead, layout.pending(0)], arguments: [wanted], within: deadline)
      } catch {
        throw QueueFailure(error)
      }
      let moved = Int(try QueueFailure.catching { try reply.integer() })
      done += moved
      if moved < wanted { break }
    }
    return done
  }
}
