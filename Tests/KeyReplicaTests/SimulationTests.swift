// A thousand of the simulator's schedules, with new seeds each time. With fewer, some draws have next to no refusal
// storms. `Scripts/simulate` runs as many as time permits.

import Foundation
import Simulation
import Testing

@Suite struct SimulationTests {
  @Test func `under any schedule nothing is refused without a proof, and all converges when the faults stop`() throws {
    let start = try TestSeed.announced(for: "Simulation") % 1_000_000_000
    var total = SimulationTotal()
    for seed in start..<start + 1_000 {
      let summary = Simulation(seed: seed, steps: 300).run()
      total.add(summary)
      guard let failure = summary.failure else { continue }
      let again = Simulation(seed: seed, steps: 300, keepsLog: true)
      _ = again.run()
      Issue.record(
        """
        \(failure)
        repeat with Scripts/simulate --seeds \(seed)..\(seed) --steps 300
        \(again.log.suffix(40).joined(separator: "\n"))
        """)
      return
    }
    // Schedules in which nothing was decided would prove nothing.
    #expect(total.storms > 20, "\(total.storms) verdicts in refusal storms")
    #expect(
      total.sourceProofs > 100 && total.sourceStale > 10,
      "\(total.sourceProofs) refusals by the source, \(total.sourceStale) undecided verdicts for a stale mark")
    #expect(
      total.refusals > 2000 && total.admissions > 2000, "\(total.refusals) refusals, \(total.admissions) admissions")
  }
}
