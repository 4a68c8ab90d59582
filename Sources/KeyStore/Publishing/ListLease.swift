// Only one list is applied at a time. Otherwise parts of both would be applied, and both publishers would report
// success.
//
// The lease is a text in Redis that its holder renews and that expires, so that a killed publisher blocks others for at
// most one lease. It is not a lock that publishers have to respect: the script that makes a list's changes checks the
// lease in the same step (write_changes.lua), so a publisher that was paused for too long can't change anything.
//
// Redis ends the lease by its clock, which may be set back by hours. So a waiting publisher also watches the text,
// which changes with each renewal. If the text hasn't changed for a whole lease, by the waiting process's own clock,
// the lease is free.
//
// Rejected: a counter in the store's description that each list increments (a fencing token). It has the same effect,
// but changes the description even if a list changes nothing.

internal import Foundation
import Hiredis
import NIOCore
public import RedisClient
import Synchronization

/// The right to apply a list, until it is released or its holder ends.
public final class ListLease: Sendable {
  private let connection: RedisConnection
  private let layout: StoreLayout
  private let holder: Holder
  private let renewals: Mutex<Renewals>

  private struct Renewals {
    var text: String
    var count = 0
    var task: RepeatedTask?
  }

  /// How long the lease lasts without a renewal.
  public static let duration: Duration = .seconds(15)
  private static let renewal: TimeAmount = .seconds(5)
  private static let pollInterval: Duration = .milliseconds(200)

  /// The publisher that applies a list.
  public struct Holder: Sendable, Hashable {
    /// As text: which verb, on which host, by which process.
    public var name: String
    /// Seconds since 1970, by the holder's clock.
    public var since: Int64
    /// Different for each run.
    fileprivate var token: String

    fileprivate init(name: String) {
      (self.name, token) = (name, StoreEpoch.random())
      since = Int64(Date().timeIntervalSince1970)
    }

    /// Reads a lease's text. A text in an unknown format is shown unchanged.
    fileprivate init(text: String) {
      let parts = text.split(separator: " ", maxSplits: 3).map(String.init)
      if parts.count == 4, let seconds = Int64(parts[1]) {
        (token, since, name) = (parts[0], seconds, parts[3])
      } else {
        (token, since, name) = ("", 0, text)
      }
    }

    fileprivate func text(renewal: Int) -> String { "\(token) \(since) \(renewal) \(name)" }
  }

  /// Another list was still being applied when the wait was over.
  public struct Taken: Error, Sendable, CustomStringConvertible {
    public let holder: Holder
    public var description: String {
      "another list is being applied: \(holder.name), since \(holder.sinceText). Nothing was changed in the store. Run it again "
        + "when that has ended, or give a longer --wait"
    }
  }

  private init(_ connection: RedisConnection, _ layout: StoreLayout, _ holder: Holder) {
    (self.connection, self.layout, self.holder) = (connection, layout, holder)
    renewals = Mutex(Renewals(text: holder.text(renewal: 0)))
  }

  deinit { renewals.withLock { $0.task?.cancel() } }

  /// The beginning of the text in Redis while this lease is valid.
  var beginning: String { holder.token + " " }

  /// Waits for the lease, and takes it.
  /// - Parameters:
  ///   - name: Shown to publishers that wait for this lease.
  ///   - limit: Maximum wait for other publishers.
  ///   - former: A lease of this process whose connection is lost. The new lease replaces the former one at once.
  ///   - waiting: Called once for each other holder.
  /// - Throws: ``Taken``, or the error of a failed request.
  public static func take(
    _ connection: RedisConnection, _ layout: StoreLayout, as name: String, within limit: Duration,
    succeeding former: ListLease? = nil, waiting: (Holder) -> Void
  ) async throws -> ListLease {
    let lease = ListLease(connection, layout, Holder(name: name))
    let clock = ContinuousClock()
    let deadline = clock.now + limit
    var (seen, seenSince, token) = ("", clock.now, "")
    while true {
      let isOurs = former.map { seen.hasPrefix($0.beginning) } ?? false
      let isOver = !seen.isEmpty && (isOurs || clock.now - seenSince >= duration)
      let script = lease.script(.take, replacing: isOver ? seen : "", by: lease.holder.text(renewal: 0))
      switch try script.read(await connection.execute(script)) {
      case .done:
        lease.renewRegularly()
        return lease
      case .ended: continue
      case .held(let text):
        if text != seen { (seen, seenSince) = (text, clock.now) }
        if let former, text.hasPrefix(former.beginning) { continue }
        let other = Holder(text: text)
        guard clock.now < deadline else { throw Taken(holder: other) }
        if other.token != token || token.isEmpty { waiting(other) }
        token = other.token
        try await Task.sleep(for: pollInterval, clock: clock)
      }
    }
  }

  /// The process that holds the lease now; nil if nobody does.
  public static func holder(_ connection: RedisConnection, _ layout: StoreLayout) async throws -> Holder? {
    try await connection.execute(RedisCommand("GET", layout.lease)).stringOrNull().map { Holder(text: $0) }
  }

  /// Releases the lease. If Redis can't be reached, the lease expires.
  public func release() async {
    // On the event loop, as renewals are: so a renewal in flight is answered first.
    let released = connection.eventLoop.flatSubmit { [self] in
      let text = renewals.withLock { renewals in
        renewals.task?.cancel()
        renewals.task = nil
        return renewals.text
      }
      return connection.run(script(.release, replacing: text, by: ""), within: .seconds(10))
    }
    do {
      _ = try await released.get()
    } catch {
      // The lease expires.
    }
  }

  private func script(_ step: LeaseScript.Step, replacing former: String, by text: String) -> LeaseScript {
    let milliseconds = Int64(Self.duration / .milliseconds(1))
    return LeaseScript(layout: layout, step: step, former: former, text: text, milliseconds: milliseconds)
  }

  /// Renewals run on the connection's event loop, because the thread that reads a list is blocked by its file.
  private func renewRegularly() {
    let task = connection.eventLoop.scheduleRepeatedTask(initialDelay: Self.renewal, delay: Self.renewal) {
      [weak self] _ in self?.renew()
    }
    renewals.withLock { $0.task = task }
  }

  private func renew() {
    let (former, text) = renewals.withLock { renewals in
      renewals.count += 1
      let former = renewals.text
      renewals.text = holder.text(renewal: renewals.count)
      return (former, renewals.text)
    }
    // A failure is ignored: the script of the next change checks the lease.
    connection.run(script(.renew, replacing: former, by: text), within: .seconds(10)).whenFailure { _ in }
  }
}

extension ListLease.Holder {
  /// In UTC.
  public var sinceText: String { Date(timeIntervalSince1970: Double(since)).formatted(.iso8601) }
}
