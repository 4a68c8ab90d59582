import Foundation
import Synchronization
import Testing

@testable import KeyReplica

@Suite struct KeyTableTests {
  @Test func `a put is found, counted in its own bucket only, and gives before and after`() {
    let table = KeyTable(bucketCount: 2)
    let id = KeyID(secret: "k".utf8)
    let record = KeyRecord(state: .suspended, since: 1, account: "acme")
    let digest = Digest(of: id, record: record.encoded)
    let (before, after, _) = table.put(id, record, digest: digest)
    #expect(before == (0, .empty) && after == (1, digest))
    #expect(table.find(id)?.state == .suspended)
    #expect(table.find(id)?.account == "acme")
    #expect(table.find(KeyID(secret: "other".utf8)) == nil)
    #expect(table.contents(ofBucket: id.bucket(of: 2)) == (1, digest))
    #expect(table.contents(ofBucket: 1 - id.bucket(of: 2)) == (0, .empty))
    #expect(table.accountCount == 1)
  }

  @Test func `readers on other threads see each key in one of its states, whatever the writer does`() throws {
    let table = KeyTable(bucketCount: 2)
    let keys = (0..<64).map { KeyID(secret: "key \($0)".utf8) }
    // Account "a<n>" goes with active only, "s<n>" with suspended only: a torn record would mix them.
    @Sendable func record(_ key: Int, active: Bool) -> KeyRecord {
      KeyRecord(state: active ? .active : .suspended, since: 0, account: "\(active ? "a" : "s")\(key)")
    }
    @Sendable func put(_ key: Int, active: Bool) {
      let record = record(key, active: active)
      _ = table.put(keys[key], record, digest: Digest(of: keys[key], record: record.encoded))
    }
    for key in keys.indices { put(key, active: true) }
    let finished = Atomic(false)
    let wrong = Atomic(0)
    let looks = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: 3) { thread in
      if thread == 0 {
        // Goes on until each of the others has had a look, so that they surely overlap.
        var round = 0
        while round < 40 || looks.load(ordering: .relaxed) < 2000 && round < 100_000 {
          for key in keys.indices { put(key, active: (round + key).isMultiple(of: 2)) }
          var fresh = BucketTable(capacity: 64)
          for key in keys.indices where keys[key].bucket(of: 2) == 0 {
            let record = record(key, active: round.isMultiple(of: 2))
            fresh.put(
              keys[key], state: record.state, account: table.accountNumber(of: record.account),
              digest: Digest(of: keys[key], record: record.encoded))
          }
          table.install(fresh, asBucket: 0)
          round += 1
        }
        finished.store(true, ordering: .relaxed)
      } else {
        while !finished.load(ordering: .relaxed) {
          for key in keys.indices {
            let found = table.find(keys[key])
            let fits = found.map { $0.account == "\($0.state == .active ? "a" : "s")\(key)" } ?? false
            if !fits { wrong.add(1, ordering: .relaxed) }
          }
          looks.add(64, ordering: .relaxed)
        }
      }
    }
    #expect(wrong.load(ordering: .relaxed) == 0)
    #expect(looks.load(ordering: .relaxed) >= 2000)
  }
}
