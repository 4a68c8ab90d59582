import RedisFixture
import Testing

@testable import KeyAPI

@Suite(.timeLimit(.minutes(1))) struct AccountTurnsTests {
  @Test func `a request whose turn doesn't come in time is told so, and the next one gets the turn`() async throws {
    let turns = AccountTurns(limit: 2)
    try await turns.take(within: .seconds(60))
    await #expect(throws: TooBusy.self) { try await turns.take(within: .milliseconds(1)) }
    #expect(await turns.waitingRequests == 0)
    let next = Task { try await turns.take(within: .seconds(60)) }
    try await eventually("it waits") { await turns.waitingRequests == 1 }
    await turns.giveBack()
    try await next.value
    await turns.giveBack()
    try await turns.take(within: .zero)
  }

  @Test func `more than the limit don't wait`() async throws {
    let turns = AccountTurns(limit: 1)
    try await turns.take(within: .seconds(60))
    let next = Task { try await turns.take(within: .seconds(60)) }
    try await eventually("one waits") { await turns.waitingRequests == 1 }
    await #expect(throws: TooBusy.self) { try await turns.take(within: .seconds(60)) }
    await turns.giveBack()
    try await next.value
  }
}
