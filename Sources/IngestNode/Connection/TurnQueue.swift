internal import DequeModule

/// A queue in which owners take turns. However many elements one owner has, the first element of each owner is before
/// the second of any.
struct TurnQueue<Owner: Hashable, Element> {
  private var waiting: [Owner: Deque<Element>] = [:]
  /// Owners with elements, in the order of their turns.
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
