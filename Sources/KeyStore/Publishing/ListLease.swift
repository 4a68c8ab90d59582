// Whose turn it is to apply a list. Two lists at once would each be applied in part, and both would end well.
//
// The lease is a text in Redis that its holder renews and that ends by itself, so that a publisher that was killed holds
// up nobody for longer than a lease. It is no lock that others must respect: the script that makes a list's changes
// checks the lease in the same step (write_changes.lua), so that a publisher that was paused for longer changes nothing
// any more.
//
// Redis ends the lease by its clock, which may be set back by hours. So whoever waits also watches the text: it changes
// with each renewal, and one that hasn't changed for a whole lease by the waiting process's own clock belongs to nobody.
//
// Rejected: a counter in the store's description that each list increments (a fencing token). It does the same, and
// changes the description even where a list changes nothing.

internal import Foundation
import NIOCore
public import RedisClient
import Synchronization

/// The right to apply a list, until it is released or its holder dies.
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

  /// How long it lasts without a renewal.
  public static let duration: Duration = .seconds(15)
  private static let renewal: TimeAmount = .seconds(5)
  private static let pollInterval: Duration = .milliseconds(200)

  /// Who applies a list.
  public struct Holder: Sendable, Hashable {
    /// In words: which verb, on which host, by which process.
    public var name: String
    /// Seconds since 1970, by its own clock.
    public var since: Int64
    /// Different for each run.
    fileprivate var token: String

    fileprivate init(name: String) {
      (self.name, token) = (name, StoreEpoch.random())
      since = Int64(Date().timeIntervalSince1970)
    }

    /// Reads a lease's text. A text that nobody of ours wrote is shown as it is.
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

  /// Somebody else applied a list for longer than was to be waited.
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

  /// What its text in Redis begins with, as long as it is this lease.
  var beginning: String { holder.token + " " }

  /// Waits for the lease, and takes it.
  /// - Parameters:
  ///   - name: Shown to those who wait meanwhile.
  ///   - limit: How long is waited for others.
  ///   - former: A lease of this process whose connection is lost: it is replaced at once.
  ///   - waiting: Called once for each holder that is waited for.
  /// - Throws: ``Taken``, or what isn't an answer.
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

  /// Gives it up. Where Redis can't be reached it ends by itself.
  public func release() async {
    // On the event loop, as renewals: so one that is on its way comes first.
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
      // It ends by itself.
    }
  }

  private func script(_ step: LeaseScript.Step, replacing former: String, by text: String) -> LeaseScript {
    let milliseconds = Int64(Self.duration / .milliseconds(1))
    return LeaseScript(layout: layout, step: step, former: former, text: text, milliseconds: milliseconds)
  }

  /// On the connection's event loop, since a list is read by a thread that waits for its file.
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
    // Whether it was renewed is found out by the next change: the script checks it.
    connection.run(script(.renew, replacing: former, by: text), within: .seconds(10)).whenFailure { _ in }
  }
}

extension ListLease.Holder {
  /// In UTC.
  public var sinceText: String { Date(timeIntervalSince1970: Double(since)).formatted(.iso8601) }
}
