// What libFuzzer calls with each input of its own: see Scripts/fuzz. Compiled together with Sources/Hiredis as one module.
//
// An input is eight sizes of pieces, then a stream. The stream is read at once and in pieces of these sizes. Both
// must end the same way: with the same replies, and failed or not; and no reply may pass the limits. Then the stream
// is read many times over from one conversation, and the reader's buffer must stay as large as what was unread and
// one piece need.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzReader(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeBufferPointer(start: data, count: count)
  guard count > 8 else { return -1 }
  let sizes = input.prefix(8).map { max(1, Int($0)) }
  let stream = Array(input.dropFirst(8))
  let limits = ReplyLimits(elements: 32, bytes: 256)

  let atOnce = read(stream, inPiecesOf: [stream.count], limits: limits)
  let inPieces = read(stream, inPiecesOf: sizes, limits: limits)
  precondition(atOnce.replies == inPieces.replies, "the replies depend on where the stream is cut")
  precondition(atOnce.failed == inPieces.failed, "whether it fails depends on where the stream is cut")
  // Feed larger pieces too: most inputs have some pieces of one byte.
  if !atOnce.failed { checkCapacity(stream, inPiecesOf: sizes.map { $0 + 128 }, limits: limits) }
  for reply in atOnce.replies {
    let size = size(of: reply, level: 0)
    precondition(size.elements <= limits.elements, "more elements than allowed")
    precondition(size.bytes <= limits.bytes, "more bytes than allowed")
  }
  return 0
}

private func read(
  _ stream: [UInt8], inPiecesOf sizes: [Int], limits: ReplyLimits
) -> (replies: [RedisReply], failed: Bool) {
  var reader = ReplyReader(limits: limits)
  var replies: [RedisReply] = []
  var rest = stream[...]
  var turn = 0
  do throws(ReplyError) {
    while !rest.isEmpty {
      let piece = rest.prefix(sizes[turn % sizes.count])
      rest = rest.dropFirst(piece.count)
      turn += 1
      try reader.feed(Array(piece))
      while let reply = try reader.next() { replies.append(reply) }
    }
    return (replies, false)
  } catch {
    // After a failure nothing may be read any more, whatever comes.
    do throws(ReplyError) {
      try reader.feed(Array("+OK\r\n".utf8))
      preconditionFailure("a reader that failed was fed")
    } catch {
      return (replies, true)
    }
  }
}

/// hiredis leaves up to 1,023 bytes that it has read in front, and doubles the buffer when it has no room.
private func checkCapacity(_ stream: [UInt8], inPiecesOf sizes: [Int], limits: ReplyLimits) {
  var reader = ReplyReader(limits: limits)
  var rest = ArraySlice(Array(repeatElement(stream, count: max(2, (8 << 10) / stream.count)).joined()))
  var turn = 0
  var longestUnread = 0
  let longestPiece = sizes.max() ?? 1
  do throws(ReplyError) {
    while !rest.isEmpty {
      let piece = rest.prefix(sizes[turn % sizes.count])
      rest = rest.dropFirst(piece.count)
      turn += 1
      try reader.feed(Array(piece))
      while try reader.next() != nil {}
      longestUnread = max(longestUnread, reader.waitingBytes)
      precondition(
        reader.capacity <= 2 * (1_023 + longestUnread + longestPiece),
        "a buffer of \(reader.capacity) bytes for \(longestUnread) that were unread")
    }
  } catch {
    // One stream's end and the next one's beginning needn't fit together.
  }
}

private func size(of reply: RedisReply, level: Int) -> (elements: Int, bytes: Int) {
  precondition(level <= 8, "an array nested too deep")
  switch reply {
  case .array(let items):
    return items.reduce((items.count, 0)) { sum, item in
      let inner = size(of: item, level: level + 1)
      return (sum.0 + inner.elements, sum.1 + inner.bytes)
    }
  case .strings(let strings): return (strings.count, strings.bytes.count)
  case .bulk(let bytes): return (0, bytes.count)
  // A text that was repaired is longer than what came.
  case .status, .error, .integer, .null: return (0, 0)
  }
}
