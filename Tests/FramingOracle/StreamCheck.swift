// The rules that hold for every stream, in one place for the unit tests' random streams and for libFuzzer's.

public import HTTPFraming

public enum StreamCheck {
  public enum Outcome: Sendable, Equatable {
    /// All requests in it are whole, or wait for more bytes.
    case taken
    case refused(ProtocolError)
    case known(KnownDifference)
    /// Something that must not be.
    case fault(String)
  }

  /// - Parameters:
  ///   - sizes: Pieces that it is cut into the second time; at least 1 each.
  ///   - early: Bits that say which requests are answered at their head the third time.
  public static func outcome(of stream: [UInt8], inPiecesOf sizes: [Int], early: UInt8, limits: RequestLimits)
    -> Outcome
  {
    let whole = Transcript(of: stream, limits: limits, ends: true)
    if let misdeed = whole.misdeed { return .fault(misdeed) }
    guard whole == Transcript(of: stream, inPiecesOf: sizes, limits: limits, ends: true) else {
      return .fault("what is read depends on where the stream is cut")
    }
    if early != 0 {
      let isEarly: (Int) -> Bool = { early >> ($0 & 7) & 1 == 1 }
      let hasty = Transcript(of: stream, limits: limits, ends: true, early: isEarly)
      if let misdeed = hasty.misdeed { return .fault("with early answers: \(misdeed)") }
      guard hasty == Transcript(of: stream, inPiecesOf: sizes, limits: limits, ends: true, early: isEarly) else {
        return .fault("with early answers, what is read depends on where the stream is cut")
      }
      // Answering early may end the connection sooner, and changes nothing else.
      for (one, other) in zip(whole.requests, hasty.requests)
      where one.target != other.target || one.fields != other.fields {
        return .fault("an early answer changes where a request begins")
      }
      if hasty.requests.count > whole.requests.count { return .fault("an early answer makes a request appear") }
    }
    switch FramingComparison(whole, NIOReading(of: stream)) {
    case .different(let what): return .fault("NIO disagrees about \(what)")
    case .known(let difference): return .known(difference)
    case .same: return whole.refusal.map { .refused($0) } ?? .taken
    }
  }
}
