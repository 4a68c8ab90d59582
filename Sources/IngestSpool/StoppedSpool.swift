// Lets an operator decide about payloads that a node has set aside. Only one process may use a spool, so the node must
// be stopped: the lock ensures that. Rejected: commands to the running node, which would let any client of its admin
// listener delete payloads.

internal import Foundation
public import IngestQueue

/// A payload that is set aside in a spool.
public struct SetAsidePayload: Sendable, Equatable {
  /// Its number in the spool, which is never reused.
  public let number: Int64
  /// In milliseconds since 1970.
  public let setAsideAt: Int64
  /// When the spool accepted it, in milliseconds since 1970.
  public let spooledAt: Int64
  /// Bytes of the payload and the line before it.
  public let bytes: Int
  /// The reason as text.
  public let reason: String
  /// Its header; nil if it isn't an envelope.
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

/// The spool of a node that isn't running.
public final class StoppedSpool: Sendable {
  private let file: SpoolFile

  /// - Throws: If there is no spool, it is damaged, or a process uses it.
  public init(folder: String) throws(UnusableSpool) {
    guard FileManager.default.fileExists(atPath: "\(folder)/spool.sqlite") else {
      throw UnusableSpool("there is no spool in \(folder): it has no file spool.sqlite, or this user can't see it")
    }
    file = try SpoolFile(folder: folder)
  }

  /// Payloads that are set aside, the oldest first, up to the limit.
  public func setAside(limit: Int) throws(SpoolFailure) -> [SetAsidePayload] { try file.setAside(limit: limit) }

  /// The payload with this number; nil if none with this number is set aside.
  public func setAside(_ number: Int64) throws(SpoolFailure) -> SetAsidePayload? {
    try file.setAside(limit: 1, number: number).first
  }

  /// The payload in the queue's format, including the line before it; nil if none with this number is set aside.
  public func element(_ number: Int64) throws(SpoolFailure) -> [UInt8]? {
    try file.setAsideElement(number).map { [UInt8]($0) }
  }

  /// Lets the node push these payloads when it runs again.
  public func requeue(_ numbers: [Int64]) throws(SpoolFailure) { try file.takeBack(numbers, discarding: false) }

  /// Deletes these payloads permanently. Numbers of other payloads have no effect.
  public func discard(_ numbers: [Int64]) throws(SpoolFailure) { try file.takeBack(numbers, discarding: true) }

  /// Closes the spool. It can't be used after that.
  public func close() throws(SpoolFailure) { try file.end() }
}
