import Foundation
import Synchronization
import Testing

@testable import KeyReplica

@Suite struct AccountNamesTests {
  @Test func `each name has one number, and its number gives it back`() {
    let names = AccountNames()
    // Beyond the first chunks.
    let all = (0..<8000).map { "account \($0)" }
    let numbers = all.map { names.number(of: $0) }
    #expect(Set(numbers).count == all.count)
    #expect(names.count == all.count)
    #expect(all.map { names.number(of: $0) } == numbers)
    #expect(numbers.map { names.name(of: $0) } == all)
    #expect(names.count == all.count)
  }

  @Test func `names that come together have the numbers that they have alone, by their bytes`() {
    let names = AccountNames()
    // Twice in one go, prefixes of each other, of all lengths; and two ways to write é, which aren't one name.
    let all = ["", "é", "e\u{301}"] + (0..<300).map { String(repeating: "a", count: $0 % 40) + "\($0)" }
    let bytes = (all + all.reversed()).map { Array($0.utf8) }
    let numbers = withBuffers(bytes) { names.numbers(of: $0) }
    #expect(Set(numbers).count == all.count)
    #expect(Array(numbers.prefix(all.count)) == numbers.suffix(all.count).reversed())
    #expect(numbers.map { Array(names.name(of: $0).utf8) } == bytes)
    #expect(all.map { names.number(of: $0) } == Array(numbers.prefix(all.count)))
  }

  private func withBuffers<Result>(_ strings: [[UInt8]], _ body: ([UnsafeRawBufferPointer]) -> Result) -> Result {
    let all = Array(strings.joined())
    return all.withUnsafeBytes { all in
      var begin = 0
      return body(
        strings.map { string in
          defer { begin += string.count }
          return UnsafeRawBufferPointer(rebasing: all[begin..<begin + string.count])
        })
    }
  }

  @Test func `whoever finds a key finds its account's name, while names are added`() {
    let table = KeyTable(bucketCount: 2)
    let keys = (0..<20_000).map { KeyID(secret: "key \($0)".utf8) }
    let added = Atomic(0)
    let wrong = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 2) { thread in
      if thread == 0 {
        for number in keys.indices {
          table.put(keys[number], KeyRecord(state: .active, since: 0, account: "account \(number)"))
          added.store(number + 1, ordering: .releasing)
        }
      } else {
        var next = 0
        while next < keys.count {
          while next < added.load(ordering: .acquiring) {
            if table.find(keys[next])?.account != "account \(next)" { wrong.add(1, ordering: .relaxed) }
            next += 1
          }
        }
      }
    }
    #expect(wrong.load(ordering: .relaxed) == 0)
  }
}
