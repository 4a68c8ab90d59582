import NIOCore
import Testing

@testable import IngestNode

struct RecentAnswersTests {
  private func at(_ seconds: Double) -> NIODeadline { .uptimeNanoseconds(UInt64(1e9 * (100 + seconds))) }

  @Test func `what is older than a minute is forgotten, and what is younger isn't`() {
    var recent = RecentAnswers(since: at(0))
    var counts = AnswerOutcomes()
    for second in 1...200 {
      counts.taken += 1
      if second <= 100 { counts.unavailable["queue_away", default: 0] += 1 }
      let minute = recent.note(counts, at: at(Double(second)))
      #expect(minute.taken == UInt64(min(second, 60)), "after \(second) s")
      let away = max(0, min(second, 100) - max(0, second - 60))
      #expect(minute.unavailable == (away == 0 ? [:] : ["queue_away": UInt64(away)]), "after \(second) s")
    }
  }

  @Test func `however often it is asked, it knows of a minute and not of less`() {
    var recent = RecentAnswers(since: at(0))
    var minute = AnswerOutcomes()
    for turn in 1...6_500 { minute = recent.note(AnswerOutcomes(taken: UInt64(turn)), at: at(Double(turn) / 100)) }
    // One a hundredth of a second: between a minute and a second more.
    #expect((6_000...6_100).contains(minute.taken), "\(minute.taken)")
  }

  @Test func `each kind is counted by itself`() {
    var recent = RecentAnswers(since: at(0))
    let counts = AnswerOutcomes(
      taken: 1, refused: 2, limited: 3, undecided: ["a": 4], unavailable: ["a": 4, "b": 5], invalid: 6)
    #expect(recent.note(counts, at: at(1)) == counts)
    var more = counts
    more.limited += 1
    more.unavailable["b"] = 7
    #expect(recent.note(more, at: at(61)) == AnswerOutcomes(limited: 1, unavailable: ["b": 2]))
  }
}
