// Combines the changes of many requests into few calls of the store's script. A pure function from waiting requests to
// calls.
//
// All changes of a call are based on one version of the store, so changes that are based on another version need
// another call. A Redis that is full still carries out a call that only suspends or revokes keys. Such changes aren't
// combined with others: an operator's revocation must not fail because another client's put was in the same call. The
// changes of one request stay together, in their order, in one atomic step.

package import KeyStore

/// One request's changes.
package struct ChangeRequest: Sendable, Hashable {
  package var edits: [KeyEdit]
  /// The version of the store that the changes are based on; nil for none.
  package var basis: UInt64?

  package init(edits: [KeyEdit], basis: UInt64?) {
    precondition((1...KeyStoreWriter.batchLimit).contains(edits.count), "\(edits.count) changes in a request")
    self.edits = edits
    self.basis = basis
  }
}

/// One call of the store's script.
package struct ChangeCall: Sendable, Hashable {
  package var edits: [KeyEdit]
  package var basis: UInt64?
  /// The number of changes of each request in this call, in the order of the requests.
  package var counts: [Int]
}

/// Combines requests into calls.
package enum ChangeGroups {
  /// Maximum calls that are sent together. Redis needs some milliseconds for each call, and its other clients wait
  /// during that time.
  package static let callLimit = 8

  /// - Parameter requests: The waiting requests in the order of their arrival.
  /// - Returns: The calls to send now. The last requests may be missing; these requests wait for the next round.
  package static func calls(of requests: some Sequence<ChangeRequest>) -> [ChangeCall] {
    var calls: [ChangeCall] = []
    var onlyEnds = false
    for request in requests {
      let ends = request.edits.allSatisfy(\.onlyEnds)
      if let last = calls.last, last.basis == request.basis, onlyEnds == ends,
        last.edits.count + request.edits.count <= KeyStoreWriter.batchLimit
      {
        calls[calls.count - 1].edits += request.edits
        calls[calls.count - 1].counts.append(request.edits.count)
        continue
      }
      guard calls.count < callLimit else { break }
      calls.append(ChangeCall(edits: request.edits, basis: request.basis, counts: [request.edits.count]))
      onlyEnds = ends
    }
    return calls
  }
}
