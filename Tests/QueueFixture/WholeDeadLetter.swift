public import IngestQueue

/// A dead letter with what was in the queue.
@dynamicMemberLookup
public struct WholeDeadLetter: Sendable {
  public let letter: DeadLetter
  public let element: [UInt8]

  public subscript<Value>(dynamicMember path: KeyPath<DeadLetter, Value>) -> Value { letter[keyPath: path] }

  /// All dead letters, the newest first. Each must be readable.
  public static func all(from letters: DeadLetters) async throws -> [WholeDeadLetter] {
    var walk = letters.walk(.newest)
    var all: [WholeDeadLetter] = []
    while let found = try await walk.next() {
      let letter = try found.get()
      all.append(WholeDeadLetter(letter: letter, element: try await letters.part(of: letter.entry, from: 0) ?? []))
    }
    return all
  }
}
