// What somebody does with the payloads that a node has set aside. A spool has one process at a time, so the node is
// stopped meanwhile: the lock sees to that. Rejected: verbs that ask the running node, which would have to let whoever
// reaches its operators' listener delete payloads.

internal import Foundation
public import IngestQueue

/// A payload that is set aside in a spool.
public struct SetAsidePayload: Sendable, Equatable {
  /// Within its spool, and never used again.
  public let number: Int64
  /// In milliseconds since 1970.
  public let setAsideAt: Int64
  /// When the spool took it, in milliseconds since 1970.
  public let spooledAt: Int64
  /// Of the payload and the line before it.
  public let bytes: Int
  /// Why, in words.
  public let reason: String
  /// What is known of it; nil where it isn't an envelope.
  public let header: EnvelopeHeader?

  init(number: Int64, setAsideAt: Int64, spooledAt: Int64, bytes: Int, reason: String, beginning: Data) {
    self.number = number
    self.setAsideAt = setAsideAt
    self.spooledAt = spooledAt
    self.bytes = bytes
    self.reason = reason
    do throws(InvalidEnvelope) { header = try Envelope([UInt8](beginning)).header } catch { header = nil }
  }
}

/// The spool of a node that doesn't run.
public final class StoppedSpool: Sendable {
  private let file: SpoolFile

  /// - Throws: Where there is none, it is damaged, or a process uses it.
  public init(folder: String) throws(UnusableSpool) {
    guard FileManager.default.fileExists(atPath: "\(folder)/spool.sqlite") else {
      throw UnusableSpool("there is no spool in \(folder): it has no file spool.sqlite, or this user can't see it")
    }
    file = try SpoolFile(folder: folder)
  }

  /// The oldest first, at most so many.
  public func setAside(limit: Int) throws(SpoolFailure) -> [SetAsidePayload] { try file.setAside(limit: limit) }

  /// The one of that number; nil where none is set aside.
  public func setAside(_ number: Int64) throws(SpoolFailure) -> SetAsidePayload? {
    try file.setAside(limit: 1, number: number).first
  }

  /// The payload as it would have gone to the queue, with the line before it; nil where none of that number is set
  /// aside.
  public func element(_ number: Int64) throws(SpoolFailure) -> [UInt8]? {
    try file.setAsideElement(number).map { [UInt8]($0) }
  }

  /// Lets the node push these when it runs again.
  public func requeue(_ numbers: [Int64]) throws(SpoolFailure) { try file.takeBack(numbers, discarding: false) }

  /// Deletes these for good. A number of what isn't set aside has no effect.
  public func discard(_ numbers: [Int64]) throws(SpoolFailure) { try file.takeBack(numbers, discarding: true) }

  /// Nothing may be done with it after that.
  public func close() throws(SpoolFailure) { try file.end() }
}
