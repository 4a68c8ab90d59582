// How changes of many requests become few calls of the store's script. Pure: what waits goes in, calls come out.
//
// A call has one version that its changes rest on, so changes that rest on another one need another call. A call that
// only takes keys out of service is carried out by a full Redis too, so it isn't put into one call with others: an
// operator's revocation must not fail because somebody else's put was in the same call. The changes of one request stay
// together, in their order, in one atomic step.

package import KeyStore

/// One request's changes.
package struct ChangeRequest: Sendable, Hashable {
  package var edits: [KeyEdit]
  /// The version that they rest on; nil for none.
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
  /// How many changes each of its requests has, in their order.
  package var counts: [Int]
}

/// Puts requests together.
package enum ChangeGroups {
  /// Maximum calls that are sent together. Redis takes some milliseconds for each, and others wait meanwhile.
  package static let callLimit = 8

  /// - Parameter requests: In the order in which they came.
  /// - Returns: The calls to send now; the last requests may be left for later.
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
