/// Calls back at the earliest time that was set. Used by one task at a time.
struct Alarm {
  private let time: Timekeeper
  private let ring: @Sendable () -> Void
  private var set: (moment: Duration, task: Task<Void, Never>)?

  init(time: Timekeeper, ring: @escaping @Sendable () -> Void) {
    self.time = time
    self.ring = ring
  }

  /// An alarm that is set to an earlier time is kept: an early call does no harm, and most settings cost nothing that
  /// way.
  mutating func set(_ moment: Duration) {
    if let set, set.moment <= moment, set.moment > time.now() { return }
    cancel()
    let task = Task { [time, ring] in
      do { try await time.sleep(moment) } catch { return }  // Cancelled: a clock throws nothing else.
      ring()
    }
    set = (moment, task)
  }

  mutating func cancel() {
    set?.task.cancel()
    set = nil
  }
}
