/// Calls when a moment comes; the earliest that it was set to. For one task at a time.
struct Alarm {
  private let time: Timekeeper
  private let ring: @Sendable () -> Void
  private var set: (moment: Duration, task: Task<Void, Never>)?

  init(time: Timekeeper, ring: @escaping @Sendable () -> Void) {
    self.time = time
    self.ring = ring
  }

  /// An alarm that is set to an earlier moment stays: ringing too early does no harm, and most settings then cost nothing.
  mutating func set(_ moment: Duration) {
    if let set, set.moment <= moment, set.moment > time.now() { return }
    cancel()
    let task = Task { [time, ring] in
      do { try await time.sleep(moment) } catch { return }  // Cancelled, which is all that a clock throws.
      ring()
    }
    set = (moment, task)
  }

  mutating func cancel() {
    set?.task.cancel()
    set = nil
  }
}
