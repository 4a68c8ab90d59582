internal import DequeModule

/// What waits, by turns of whoever owns it. However much one owner has waiting, the first of each comes before the
/// second of any.
struct TurnQueue<Owner: Hashable, Element> {
  private var waiting: [Owner: Deque<Element>] = [:]
  /// Owners that have something, in the order of their turns.
  private var owners: Deque<Owner> = []
  private(set) var count = 0

  func count(of owner: Owner) -> Int { waiting[owner]?.count ?? 0 }

  mutating func append(_ element: Element, of owner: Owner) {
    if waiting[owner] == nil { owners.append(owner) }
    waiting[owner, default: []].append(element)
    count += 1
  }

  mutating func popFirst() -> Element? {
    guard let owner = owners.popFirst(), let element = waiting[owner]?.popFirst() else { return nil }
    count -= 1
    if waiting[owner]?.isEmpty ?? true { waiting[owner] = nil } else { owners.append(owner) }
    return element
  }
}
