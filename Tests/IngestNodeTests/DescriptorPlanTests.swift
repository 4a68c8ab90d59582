// How descriptors are divided, for usual limits and for limits that are too small.

import Testing

@testable import IngestNode
@testable import Listening

@Suite struct DescriptorPlanTests {
  private func needs(open: Int = 20, redis: Int = 6, agent: Bool = true, spool: Bool = false) -> DescriptorPlan.Needs {
    DescriptorPlan.Needs(open: open, redisConnections: redis, hasAgentCheck: agent, hasSpool: spool)
  }

  @Test(arguments: [128, 256, 512, 1_024, 4_096, 20_000, 1_048_576])
  func `all parts together are never more than the limit`(limit: Int) throws {
    for wanted in [1, 20, 100, 900, 10_000, 1_000_000] {
      for agent in [false, true] {
        let plan = try DescriptorPlan(limit: limit, wanted: wanted, needs: needs(agent: agent))
        let parts = 20 + 2 * 6 + plan.admin.descriptors + (plan.agentCheck?.descriptors ?? 0) + plan.pushes.descriptors
        #expect(parts < limit && plan.keptBack + plan.pushes.connections <= limit)
        #expect(plan.pushes.connections <= wanted && (plan.agentCheck != nil) == agent)
        #expect(plan.pushes.connections == min(wanted, limit - plan.keptBack))
        for part in [plan.admin, plan.agentCheck, plan.pushes].compactMap({ $0 }) {
          #expect(part.batch > 0 && part.connections > 0)
        }
      }
    }
  }

  @Test func `more conversations with Redis leave fewer connections`() throws {
    let few = try DescriptorPlan(limit: 1_024, wanted: 10_000, needs: needs(redis: 6))
    let many = try DescriptorPlan(limit: 1_024, wanted: 10_000, needs: needs(redis: 56))
    #expect(few.pushes.connections - many.pushes.connections == 100)
    #expect(few.pushes.connections > 700)
  }

  @Test func `a limit that is too small says what is needed`() throws {
    let error = #expect(throws: TooFewDescriptors.self) {
      try DescriptorPlan(limit: 64, wanted: 10_000, needs: needs())
    }
    let found = try #require(error)
    #expect(found.limit == 64 && found.fewest == DescriptorPlan.fewestConnections)
    #expect("\(found)".contains("at least \(found.keptBack + found.fewest) open descriptors"))
    #expect("\(found)".contains("got 64"))
    // What it says is true for that limit, whose parts may be larger.
    #expect(throws: Never.self) {
      try DescriptorPlan(limit: found.keptBack + found.fewest, wanted: 10_000, needs: needs())
    }
    #expect(throws: Never.self) { try DescriptorPlan(limit: found.keptBack + 1, wanted: 1, needs: needs()) }
  }
}
