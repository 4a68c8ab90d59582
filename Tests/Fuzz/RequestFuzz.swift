// What libFuzzer calls with each input of its own: see Scripts/fuzz. The checks are those of the unit tests' random
// streams.
//
// An input is eight sizes of pieces, a byte whose bits say which requests are answered early, then a stream.

import FramingOracle
import HTTPFraming

// Small, so that they are met.
private let limits = RequestLimits(
  requestLineBytes: 200, headerBytes: 600, fieldCount: 16, bodyBytes: 400, drainBytes: 60, lingerBytes: 500,
  chunkExtensionBytes: 40, trailerBytes: 60, requests: 6)

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequests(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeBufferPointer(start: data, count: count)
  guard count > 9 else { return -1 }
  let sizes = input.prefix(8).map { max(1, Int($0)) }
  switch StreamCheck.outcome(of: Array(input.dropFirst(9)), inPiecesOf: sizes, early: input[8], limits: limits) {
  case .taken, .refused, .known: return 0
  // A precondition's words aren't in an optimised build.
  case .fault(let fault): fatalError(fault)
  }
}
