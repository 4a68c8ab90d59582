import Testing

@testable import IngestNode

struct AgentStateTests {
  @Test func `each state is one line`() {
    #expect(AgentState.up(weight: 100).line == "up ready 100%\n")
    #expect(AgentState.up(weight: 0).line == "up ready 0%\n")
    #expect(AgentState.drain.line == "up drain\n")
    #expect(AgentState.down(reason: "the mirror is empty").line == "down #the mirror is empty\n")
    #expect(AgentState.down(reason: "").line == "down #\n")
  }

  @Test func `a weight is a share of what the balancer gives it`() {
    #expect(AgentState.up(weight: 101).line == "up ready 100%\n")
    #expect(AgentState.up(weight: -1).line == "up ready 0%\n")
  }

  @Test func `a reason can't say anything else, nor go on for ever`() {
    let hostile = AgentState.down(reason: "gone\nup ready 100%\r\n\0\u{1b}[0m é \u{2028}").line
    #expect(hostile == "down #gone up ready 100%    [0m ? ?\n")
    let long = AgentState.down(reason: String(repeating: "é\u{301}", count: 100_000)).line
    #expect(long.utf8.count == 6 + 96 + 1)
  }
}
