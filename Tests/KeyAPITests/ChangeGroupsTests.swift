import KeyReplica
import KeyStore
import Testing

@testable import KeyAPI

@Suite struct ChangeGroupsTests {
  private func put(_ count: Int, basis: UInt64? = nil) -> ChangeRequest {
    ChangeRequest(
      edits: (0..<count).map {
        .active(Self.id($0), of: "acme", reactivates: false, changesAccount: false, revision: nil)
      },
      basis: basis)
  }

  private func revoke(_ number: Int) -> ChangeRequest {
    ChangeRequest(edits: [KeyEdit(key: Self.id(number), kind: .setState(.revoked))], basis: nil)
  }

  private static func id(_ number: Int) -> KeyID { KeyID(secret: "key\(number)".utf8) }

  @Test func `requests share a call up to its limit, and none is split`() {
    #expect(ChangeGroups.calls(of: []).isEmpty)
    #expect(
      ChangeGroups.calls(of: Array(repeating: put(1), count: 32)).map(\.counts) == [Array(repeating: 1, count: 32)])
    #expect(ChangeGroups.calls(of: [put(200), put(56), put(1)]).map(\.counts) == [[200, 56], [1]])
    #expect(ChangeGroups.calls(of: [put(200), put(57), put(56)]).map(\.counts) == [[200], [57, 56]])
  }

  @Test func `changes that rest on different versions are in different calls`() {
    let calls = ChangeGroups.calls(of: [put(1), put(2, basis: 7), put(3, basis: 7), put(4, basis: 8), put(5)])
    #expect(calls.map(\.basis) == [nil, 7, 8, nil])
    #expect(calls.map(\.counts) == [[1], [2, 3], [4], [5]])
  }

  @Test func `what only ends keys isn't in a call that a full Redis refuses`() {
    let calls = ChangeGroups.calls(of: [put(1), revoke(2), revoke(3), put(4)])
    #expect(calls.map(\.counts) == [[1], [1, 1], [4]])
    #expect(calls[1].edits.allSatisfy(\.onlyEnds) && !calls[0].edits.contains(where: \.onlyEnds))
    let activation = ChangeRequest(edits: [KeyEdit(key: Self.id(1), kind: .setState(.active))], basis: nil)
    #expect(ChangeGroups.calls(of: [activation, put(1)]).count == 1, "to activate a key needs memory like a put")
  }

  @Test func `the calls of a round have a limit, and the order stays`() {
    let requests = (0..<20).map { put(1, basis: UInt64($0)) }
    let calls = ChangeGroups.calls(of: requests)
    #expect(calls.count == ChangeGroups.callLimit)
    #expect(calls.map(\.basis) == (0..<ChangeGroups.callLimit).map { UInt64($0) })
  }
}
