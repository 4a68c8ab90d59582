import Testing

@testable import CommandSupport

struct BuildDescriptionTests {
  @Test func `the build has a description of one line that a metric's label can hold`() {
    let text = BuildDescription.current
    #expect((1...100).contains(text.count))
    #expect(text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._+/-".contains($0)) })
  }
}
