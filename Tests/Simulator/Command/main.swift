// Runs schedules one after the other, and reports which seed failed and how. Started by Scripts/simulate, which
// explains the options.

import KeyReplica
import Simulation

import Foundation

var seeds: ClosedRange<UInt64> = 1...2000
var steps = 400
var logLines = 60

func usage(_ complaint: String) -> Never {
  FileHandle.standardError.write(Data("simulate: \(complaint)\n".utf8))
  exit(64)
}

var arguments = CommandLine.arguments.dropFirst()
while let option = arguments.popFirst() {
  guard let value = arguments.popFirst() else { usage("\(option) needs a value") }
  switch option {
  case "--seeds":
    let ends = value.split(separator: ".", omittingEmptySubsequences: true).map { UInt64($0) }
    guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count <= 2, first <= last else {
      usage("--seeds needs FROM..TO, got \(value)")
    }
    seeds = first...last
  case "--steps":
    guard let number = Int(value), number > 0 else { usage("--steps needs a number from 1 up, got \(value)") }
    steps = number
  case "--log":
    guard let number = Int(value), number > 0 else { usage("--log needs a number of lines, got \(value)") }
    logLines = number
  default: usage("there is no option \(option)")
  }
}

let clock = ContinuousClock()
let began = clock.now
var total = SimulationTotal()
for seed in seeds {
  let summary = Simulation(seed: seed, steps: steps).run()
  total.add(summary)
  if let failure = summary.failure {
    let again = Simulation(seed: seed, steps: steps, keepsLog: true)
    _ = again.run()
    print(again.log.suffix(logLines).joined(separator: "\n"))
    let options = (steps == 400 ? "" : " --steps \(steps)")
    print("\nFAILED at seed \(seed), after \(total.runs) schedules: \(failure)")
    print("repeat with: Scripts/simulate --seeds \(seed)..\(seed)\(options)")
    exit(1)
  }
}
print(total.description(took: clock.now - began))
// So many schedules have all kinds of faults, or one kind is never tried.
if total.runs >= 2000, steps >= 400, !total.missingFaults.isEmpty {
  print("these faults never occurred: \(total.missingFaults.map(\.rawValue).joined(separator: ", "))")
  exit(1)
}
