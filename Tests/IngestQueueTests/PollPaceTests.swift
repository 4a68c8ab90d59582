import IngestQueue
import Testing

struct PollPaceTests {
  @Test func `looks at an empty queue become rarer up to a bound, and frequent again after a find`() {
    var pace = PollPace()
    let pauses = (0..<7).map { _ in pace.afterEmpty() }
    #expect(pauses == [5, 10, 20, 40, 80, 100, 100].map { .milliseconds($0) })
    pace.reset()
    #expect(pace.afterEmpty() == .milliseconds(5))
  }
}
