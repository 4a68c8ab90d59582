// Fails where something takes more instructions than it may; started by Scripts/instructions, which builds it and explains its use.
//
// Everything is measured the same way: two processes run under Callgrind, one with few repetitions and one with many,
// and the difference is divided. So what it takes to start and to end drops out, and what a program does beside. Time
// can't be a limit on machines that are shared, where it differs by a third from run to run; this differs by a
// hundredth. Rejected: counts of allocations by package-benchmark, whose counts need an allocator put in the program's
// way, and which sees no process of ours from the outside. An allocation too many shows here as the hundred
// instructions that it takes.

import ArgumentParser
import Foundation
import RedisFixture

struct InstructionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "instructions", abstract: "Fails where something takes more instructions than it may.")

  @Argument(help: "What is measured; all by default.")
  var names: [String] = []

  @Flag(help: "Writes what is measured into the file of thresholds.")
  var update = false

  @Option(help: "The file of thresholds.")
  var thresholds = "Benchmarks/Instructions/\(Self.processor).txt"

  /// The kind of processor, as the system calls it.
  private static var processor: String {
    var name = utsname()
    uname(&name)
    return withUnsafeBytes(of: &name.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  private static var known: [String] { Piece.all.map(\.name) + PushesUnderCallgrind.all.map(\.name) }

  func validate() throws {
    for name in names where !Self.known.contains(name) {
      throw ValidationError("there is no \(name); there are \(Self.known.joined(separator: ", "))")
    }
  }

  func run() async throws {
    var allowed = InstructionThresholds()
    if FileManager.default.fileExists(atPath: thresholds) {
      allowed = try InstructionThresholds(String(contentsOfFile: thresholds, encoding: .utf8), from: thresholds)
    }
    var exceeded = 0
    print(Self.line("WHAT", "MEASURED", "ALLOWED", ""))
    func note(_ name: String, _ what: String, _ measured: Int) {
      let row = allowed[name]
      if update { allowed.update(name, to: measured) }
      let limit = allowed[name]?.allowed
      let isExceeded = measured > limit ?? 0
      if isExceeded { exceeded += 1 }
      let remark =
        switch row {
        case nil: "\(update ? "new" : "NO THRESHOLD"), \(what)"
        case let row?:
          "\(isExceeded ? "TOO MANY, " : "")\(Self.percent(Double(measured) / Double(row.measured) - 1)) \(what)"
        }
      print(Self.line(name, "\(measured)", limit.map { "\($0)" } ?? "–", remark))
    }
    for piece in Piece.all where names.isEmpty || names.contains(piece.name) {
      note(piece.name, piece.what, try await Self.instructions(of: piece))
    }
    for pushes in PushesUnderCallgrind.all where names.isEmpty || names.contains(pushes.name) {
      note(pushes.name, pushes.what, try await pushes.instructions())
    }
    if update {
      try allowed.text.write(toFile: thresholds, atomically: true, encoding: .utf8)
      print("written to \(thresholds)")
    } else if exceeded > 0 {
      print("\(exceeded) took more than \(thresholds) allows. Where that is meant: Scripts/instructions --update")
      throw ExitCode(1)
    }
  }

  private static func instructions(of piece: Piece) async throws -> Int {
    @Sendable func total(_ times: Int) async throws -> Int {
      try await Callgrind.start("bench", ["piece", piece.name, "\(times)"]).instructions()
    }
    async let few = total(piece.times.few)
    async let many = total(piece.times.many)
    return try await (many - few) / (piece.times.many - piece.times.few)
  }

  private static func percent(_ share: Double) -> String {
    let tenths = Int((share * 1000).rounded())
    return "\(tenths < 0 ? "-" : "+")\(abs(tenths) / 10).\(abs(tenths) % 10)%"
  }

  private static func line(_ name: String, _ measured: String, _ allowed: String, _ remark: String) -> String {
    func right(_ text: String) -> String { String(repeating: " ", count: max(0, 9 - text.count)) + text }
    return "\(name.padding(toLength: 10, withPad: " ", startingAt: 0))\(right(measured)) \(right(allowed))  \(remark)"
  }
}

/// What is run under Callgrind: one piece, so many times, and nothing else.
struct PieceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "piece", abstract: "Runs one piece so many times.", shouldDisplay: false)

  @Argument var name: String
  @Argument var times: Int

  func run() throws {
    guard let piece = Piece.all.first(where: { $0.name == name }) else {
      throw ValidationError("there is no piece \(name)")
    }
    try piece.run(times)
  }
}
