// Memory is returned to the system after a peak.

import Foundation
import Logging
import Testing

@testable import FreedMemory

@Suite struct FreedMemoryTests {
  /// Whether memory is given back at each look.
  /// - Parameter uses: What is resident and what is used at each, in MiB.
  private func looks(_ uses: [(resident: Int, used: Int)]) -> [Bool] {
    var peak = Peak()
    return uses.map { peak.isOver(MemoryUse(resident: $0.resident << 20, used: $0.used << 20)) }
  }

  @Test func `what isn't used at two looks in a row is given back, and then looked at anew`() {
    #expect(looks([(500, 40), (500, 40), (500, 40), (500, 40)]) == [false, true, false, true])
  }

  @Test(arguments: [
    [(500, 40), (500, 450), (500, 40), (500, 450)], [(63, 0), (63, 0), (63, 0)], [(1_400, 1_000), (1_400, 1_000)],
  ])
  func `a peak that comes again, little, and a small part of what is used are left`(uses: [(Int, Int)]) {
    #expect(!looks(uses).contains(true))
  }

  #if canImport(Glibc)
    @Test func `memory that was freed in front of something in use leaves the process`() throws {
      // Below the size that has a mapping of its own.
      let blocks = (0..<4_096).map { _ in UnsafeMutableRawPointer.allocate(byteCount: 64 << 10, alignment: 16) }
      for block in blocks { memset(block, 1, 64 << 10) }
      for block in blocks.dropLast() { block.deallocate() }
      defer { blocks.last?.deallocate() }
      let before = try #require(MemoryUse.now)
      #expect(before.unused > 128 << 20, "the allocator keeps it by itself")
      var peak = Peak()
      for _ in 0..<2 { FreedMemory.look(&peak, Logger(label: "test")) }
      let after = try #require(MemoryUse.now)
      #expect(after.resident < before.resident - (128 << 20))
    }
  #endif
}
