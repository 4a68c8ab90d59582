import Testing

@testable import SourceFollower

@Suite struct FollowPlanTests {
  private let begin = ContinuousClock.now

  @Test func `everything is compared at the start and each interval, and marked in between`() {
    var plan = FollowPlan(interval: .seconds(3_600), now: begin)
    #expect(plan.isDue(begin) && !plan.isEqual)
    plan.began(begin)
    #expect(!plan.isDue(begin))
    plan.ended(overtaken: false, now: begin)
    #expect(plan.isEqual && !plan.isDue(begin + .seconds(3_599)) && plan.isDue(begin + .seconds(3_600)))
    plan.began(begin)
    // A regular comparison runs while changes are carried out, and the store is still marked.
    #expect(plan.isEqual)
  }

  @Test func `a comparison that wasn't done is tried again, and nothing is marked`() {
    var plan = FollowPlan(interval: .seconds(3_600), now: begin)
    plan.began(begin)
    plan.ended(overtaken: false, now: begin)
    plan.began(begin)
    plan.failed(now: begin)
    #expect(!plan.isEqual && !plan.isDue(begin + .seconds(59)) && plan.isDue(begin + .seconds(60)))
  }

  @Test func `what others overtook is compared again at once`() {
    var plan = FollowPlan(interval: .seconds(3_600), now: begin)
    plan.began(begin)
    plan.ended(overtaken: true, now: begin)
    #expect(!plan.isEqual && plan.isDue(begin))
  }

  @Test func `a doubt while a comparison runs makes another one`() {
    var plan = FollowPlan(interval: .seconds(3_600), now: begin)
    plan.began(begin)
    plan.doubt(now: begin)
    #expect(!plan.isDue(begin))
    plan.ended(overtaken: false, now: begin)
    #expect(!plan.isEqual && plan.isDue(begin))
    plan.began(begin)
    plan.ended(overtaken: false, now: begin)
    #expect(plan.isEqual)
    plan.doubt(now: begin)
    #expect(!plan.isEqual && plan.isDue(begin))
  }

  @Test func `where others go on writing the store, most of the time isn't spent with comparing`() {
    var plan = FollowPlan(interval: .seconds(3_600), now: begin)
    plan.began(begin)
    let end = begin + .seconds(2)
    plan.ended(overtaken: false, now: end)
    plan.doubtLater(now: end)
    #expect(!plan.isEqual && !plan.isDue(end + .seconds(9)) && plan.isDue(end + .seconds(10)))
    // Further changes don't delay the comparison.
    plan.doubtLater(now: end + .seconds(5))
    #expect(plan.isDue(end + .seconds(10)))
  }
}
