// What libFuzzer calls with each input of its own: see Scripts/fuzz. Compiled together with Sources/BodyCoding as one module.
//
// An input is eight sizes of pieces, a byte whose bits say how many events are allowed and how many bytes are decoded at a time, then
// a batch. What is counted in it must not depend on where it is cut, nor on whether it comes compressed. If Foundation makes an array of
// it, the count must be that array's, unless it is refused for one of the reasons that are ours.

internal import CZstd
import Foundation

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzEvents(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeBufferPointer(start: data, count: count)
  guard count > 9 else { return -1 }
  let sizes = input.prefix(8).map { max(1, Int($0)) }
  let limit = Int(input[8] & 0xF) * 16
  let room = 1 + Int(input[8] >> 4)
  let batch = Array(input.dropFirst(9))

  let json = outcome(of: batch, .json, nil, limit: limit)
  var scanner = JSONArrayScanner(limit: limit)
  check(outcome(of: batch, inPiecesOf: sizes, &scanner) == json, "the count depends on where the batch is cut")
  let messagePack = outcome(of: batch, .msgpack, nil, limit: limit)
  var header = MessagePackArrayHeader(limit: limit, bytes: batch.count)
  check(outcome(of: batch, inPiecesOf: sizes, &header) == messagePack, "the header depends on where it is cut")

  let compressed = compress(batch)
  check(outcome(of: compressed, .json, .zstd, limit: limit, room: room) == json, "the count depends on the compression")
  // Nobody knows how much comes behind a header that is compressed.
  if case .failure(.tooShort(let announced, _)) = messagePack {
    check(outcome(of: compressed, .msgpack, .zstd, limit: limit) == .success(announced), "a header was misread")
  } else {
    check(
      outcome(of: compressed, .msgpack, .zstd, limit: limit) == messagePack, "the header depends on the compression")
  }

  for case .success(let number) in [json, messagePack] {
    check(number <= limit, "more than the limit was counted")
    check(number < batch.count, "more was counted than there are bytes")
  }
  compare(json, of: batch)
  return 0
}

/// Compare with Foundation's array, if Foundation parses the batch as one.
private func compare(_ outcome: Result<Int, EventCount.Failure>, of batch: [UInt8]) {
  // It may be stricter: it reads what is within the elements.
  guard let array = try? JSONSerialization.jsonObject(with: Data(batch)) as? [Any] else { return }
  switch outcome {
  case .success(let number): check(number == array.count, "Foundation counts \(array.count) instead of \(number)")
  case .failure(.tooMany(let limit)): check(array.count > limit, "refused for a limit that it keeps to")
  case .failure(.tooDeep(let limit, _)): check(depth(array) > limit, "refused for a depth that it keeps to")
  // Foundation takes a comma after the last element, for which there is nothing.
  case .failure(.unexpected(UInt8(ascii: "]"), _, expected: .value)): break
  // It reads UTF-16 and UTF-32, and passes over byte order marks.
  case .failure(.unexpected(_, _, .array)), .failure(.unexpected(0, _, _)):
    let isMarked = [[0xEF, 0xBB, 0xBF], [0xFE, 0xFF], [0xFF, 0xFE]].contains { batch.starts(with: $0) }
    check(isMarked || batch.prefix(4).contains(0), "an array of UTF-8 is refused: \(outcome)")
  case .failure: fatalError("Foundation counts \(array.count), and it is refused: \(outcome)")
  }
}

private func depth(_ value: Any) -> Int {
  switch value {
  case let array as [Any]: 1 + (array.map(depth).max() ?? 0)
  case let object as [String: Any]: 1 + (object.values.map(depth).max() ?? 0)
  default: 0
  }
}

private func outcome(
  of body: [UInt8], _ format: EventCount.Format, _ compression: CompressionFormat?, limit: Int, room: Int = 64 << 10
) -> Result<Int, EventCount.Failure> {
  do throws(EventCount.Failure) {
    let bounds = DecodedBounds(bytes: 1 << 20, ratio: 1)
    return .success(
      try EventCount.count(
        in: body.span.bytes, format: format, compression: compression, within: bounds, limit: limit, room: room))
  } catch {
    return .failure(error)
  }
}

private func outcome(
  of body: [UInt8], inPiecesOf sizes: [Int], _ counter: inout some EventCounter
) -> Result<Int, EventCount.Failure> {
  var (rest, turn) = (body[...], 0)
  while !rest.isEmpty {
    let piece = rest.prefix(sizes[turn % sizes.count])
    rest = rest.dropFirst(piece.count)
    turn += 1
    if counter.read(piece.span.bytes) == .enough { break }
  }
  do throws(EventCount.Failure) { return .success(try counter.count()) } catch { return .failure(error) }
}

private func compress(_ bytes: [UInt8]) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: ZSTD_compressBound(bytes.count)) { room, count in
    count = ZSTD_compress(room.baseAddress, room.count, bytes, bytes.count, 1)
    check(ZSTD_isError(count) == 0, "zstd's encoder failed")
  }
}

/// A precondition's words aren't in an optimised build.
private func check(_ holds: Bool, _ fault: @autoclosure () -> String) {
  guard holds else { fatalError(fault()) }
}
