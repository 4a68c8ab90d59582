/// The client's clock, of any type: times are durations since the client was created.
struct Timekeeper: Sendable {
  let now: @Sendable () -> Duration
  /// Returns at the given time, or throws `CancellationError` before it.
  let sleep: @Sendable (_ until: Duration) async throws -> Void

  init<C: Clock>(_ clock: C) where C.Duration == Duration {
    let start = clock.now
    now = { start.duration(to: clock.now) }
    sleep = { try await clock.sleep(until: start.advanced(by: $0), tolerance: nil) }
  }
}
