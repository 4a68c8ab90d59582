// The one place in the tests that pauses between two looks. Tests themselves wait for named events, never for time to
// pass; a condition that didn't come about fails the test under its name.

/// A condition that didn't hold in time.
public struct NeverHappened: Error, CustomStringConvertible {
  public let description: String

  public init(description: String) { self.description = description }
}

/// Looks again and again until the condition holds.
///
/// A condition that throws doesn't hold yet; what it threw last is part of the error in the end.
/// - Throws: ``NeverHappened`` with the description when it still doesn't hold at the deadline.
public func eventually(
  within limit: Duration = .seconds(10), _ description: String, _ condition: () async throws -> Bool
) async throws {
  let clock = ContinuousClock()
  let deadline = clock.now + limit
  var last: (any Error)?
  while true {
    do {
      if try await condition() { return }
      last = nil
    } catch let error as CancellationError {
      throw error
    } catch {
      last = error
    }
    guard clock.now < deadline else {
      let reason = last.map { "; the last look threw: \($0)" } ?? ""
      throw NeverHappened(description: "not within \(limit): \(description)\(reason)")
    }
    try await Task.sleep(for: .milliseconds(5))
  }
}
