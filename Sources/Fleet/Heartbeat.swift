// A member's heartbeat: a report every second, and a last one when the member ends in good order. The heartbeat decides
// nothing and delays nothing. If Redis is unreachable, the member works on, and readers see that it is silent.

internal import Hiredis
public import Logging
public import ServiceLifecycle

/// Reports a member's state until the member is shut down.
///
/// Put it first in a `ServiceGroup`: the first services are shut down last, so the fleet sees the member drain.
public struct Heartbeat<Report: MemberReport>: Service {
  private let directory: FleetDirectory
  private let interval: Duration
  private let registration: Registration
  private let logger: Logger
  private let report: @Sendable () async throws -> Report

  /// - Parameters:
  ///   - interval: From one report to the next. Readers call a member silent after ``FleetVerdict/silentAfter``.
  ///   - registration: Gets the result of each report.
  ///   - report: The member's current state.
  public init(
    _ directory: FleetDirectory, every interval: Duration = .seconds(1), registration: Registration = Registration(),
    logger: Logger,
    report: @escaping @Sendable () async throws -> Report
  ) {
    self.directory = directory
    self.interval = interval
    self.registration = registration
    self.logger = logger
    self.report = report
  }

  /// Ends after a graceful shutdown or the task's cancellation. Never throws: a member that can't report still works.
  public func run() async {
    await cancelWhenGracefulShutdown { await beat() }
    do {
      try await directory.write(try await report(), stopped: true)
    } catch {
      logger.warning(
        "can't write this process's last report to Redis: sync-status will show the process as silent",
        metadata: ["reason": "\(error)"])
    }
  }

  private func beat() async {
    let clock = ContinuousClock()
    var next = clock.now
    while !Task.isCancelled {
      do {
        try await directory.write(try await report())
        if registration.note(.registered).problem != nil { logger.notice("report written to Redis again") }
      } catch {
        note(error)
      }
      // Missed reports aren't sent later.
      next = max(next + interval, clock.now)
      do { try await clock.sleep(until: next) } catch { return }
    }
  }

  /// Logs once per outage: a line every second would hide other lines.
  private func note(_ error: any Error) {
    guard let error = error as? RedisServerError, error.fleetCode == .full else {
      if registration.note(.failed("\(error)")).problem == nil {
        logger.warning(
          "can't write this process's report to Redis; retrying. sync-status shows the process as silent",
          metadata: ["reason": "\(error)"])
      }
      return
    }
    let before = registration.note(.failed("the fleet's register is full: \(error.message)"))
    guard before.problem == nil else { return }
    logger.error(
      """
      the fleet's register is full of live members: this process works, but sync-status doesn't show it and \
      sync-status wait fails on it. Run fewer and larger nodes and workers; the report is retried each second
      """, metadata: ["reason": "\(error)"])
  }
}
