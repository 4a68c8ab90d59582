import Testing

@testable import IngestQueue

@Suite struct HandOutSizeTests {
  private let begin = ContinuousClock.now

  @Test func `each closing asks for a quarter, and the second one for a connection of its own`() {
    let size = HandOutSize(most: 8 << 20)
    #expect(size.size(for: 0) == .init(bytes: 8 << 20, isApart: false, givesUp: false))
    size.noteClosing(of: 0, at: begin)
    #expect(size.size(for: 0) == .init(bytes: 2 << 20, isApart: false, givesUp: false))
    size.noteClosing(of: 0, at: begin)
    #expect(size.size(for: 0) == .init(bytes: 512 << 10, isApart: true, givesUp: false))
    // Other slots begin with as little, where they are.
    #expect(size.size(for: 1) == .init(bytes: 512 << 10, isApart: false, givesUp: false))
  }

  @Test func `what fitted is asked for until a minute has passed without a closing, and then four times as much`() {
    let size = HandOutSize(most: 8 << 20)
    for _ in 0..<2 { size.noteClosing(of: 0, at: begin) }
    size.noteAnswer(to: 0, at: begin + .seconds(59))
    #expect(size.size(for: 0) == .init(bytes: 512 << 10, isApart: false, givesUp: false))
    size.noteAnswer(to: 0, at: begin + .seconds(60))
    #expect(size.size(for: 0).bytes == 2 << 20)
    size.noteAnswer(to: 0, at: begin + .seconds(61))
    #expect(size.size(for: 0).bytes == 2 << 20)
    size.noteAnswer(to: 0, at: begin + .seconds(120))
    size.noteAnswer(to: 0, at: begin + .seconds(10_000))
    #expect(size.size(for: 0) == .init(bytes: 8 << 20, isApart: false, givesUp: false))
  }

  @Test func `a single envelope is given up only after many closings in a row, and however many come there is no trap`()
  {
    let size = HandOutSize(most: 8 << 20)
    for number in 0..<1_000 {
      #expect(size.size(for: 3).givesUp == (number >= 14))
      size.noteClosing(of: 3, at: begin)
    }
    #expect(size.size(for: 3) == .init(bytes: 1, isApart: true, givesUp: true))
    size.noteAnswer(to: 3, at: begin)
    #expect(size.size(for: 3) == .init(bytes: 1, isApart: false, givesUp: false))
  }
}
