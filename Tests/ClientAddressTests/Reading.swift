// Reads headers for the tests: all at once and cut at every position, each time with different bytes after them. The
// result must be the same.

import ClientAddress
import Testing

/// What the stream is, which must be told at one of its bytes and not be taken back.
func outcome(of stream: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) -> ProxyHeader.Outcome {
  let whole = ProxyHeader.parse(stream.span.bytes)
  var told = ProxyHeader.Outcome.incomplete
  for count in 0...stream.count {
    let piece = Array(stream.prefix(count))
    let next = ProxyHeader.parse(piece.span.bytes)
    if told != .incomplete, next != told {
      Issue.record("after \(count) bytes it is \(next), and it was \(told)", sourceLocation: sourceLocation)
    }
    if next != told, case .complete(let length, _) = next, length != count {
      Issue.record("with \(count) bytes it is complete, and has \(length)", sourceLocation: sourceLocation)
    }
    if next == .incomplete, count >= ProxyHeader.maximumLength {
      Issue.record("\(count) bytes aren't enough", sourceLocation: sourceLocation)
    }
    told = next
  }
  if told != whole { Issue.record("\(whole) at once, \(told) in pieces", sourceLocation: sourceLocation) }
  if whole != .incomplete {
    for rest in [[0], [0x0D, 0x0A], Array("GET / HTTP/1.1\r\n\r\n".utf8), Array(repeating: 0xFF, count: 600)]
      as [[UInt8]]
    {
      let more = ProxyHeader.parse((stream + rest).span.bytes)
      if more != whole { Issue.record("\(whole) alone, \(more) before \(rest)", sourceLocation: sourceLocation) }
    }
  }
  return whole
}

func outcome(of line: String, sourceLocation: SourceLocation = #_sourceLocation) -> ProxyHeader.Outcome {
  outcome(of: Array(line.utf8), sourceLocation: sourceLocation)
}
