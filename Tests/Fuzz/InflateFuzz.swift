// The function that libFuzzer calls with each generated input: see Scripts/fuzz. Compiled together with
// Sources/BodyCoding as one module.
//
// The first byte of an input chooses whether the body is decoded as brotli, and how many bytes are decoded at a time.
// The rest is the body. For every body the output must not depend on the size of the output buffer, must stay within
// the limits, and must equal the output of the library's one-shot call.

internal import CBrotli
internal import CZlib
internal import CZstd

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzInflate(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = UnsafeBufferPointer(start: data, count: count)
  guard let choice = input.first else { return -1 }
  let body = Array(input.dropFirst())
  let room = 1 + Int(choice >> 1)
  guard let format = choice & 1 == 0 ? CompressionFormat(firstBytesOf: body.span.bytes) : .brotli else { return -1 }

  let bounds = DecodedBounds(bytes: 1 << 14, ratio: 1_000)
  let atOnce = decode(body, format, bounds, room: 1 << 17)
  precondition(atOnce == decode(body, format, bounds, room: room), "what comes out depends on the room")
  switch atOnce {
  case .success(let output):
    precondition(output.count <= bounds.bytes, "more than the bound came out")
    // A bound that is just right changes nothing, and one that is a byte less is kept too.
    precondition(atOnce == decode(body, format, DecodedBounds(bytes: output.count, ratio: 1), room: room), "too tight")
    if !output.isEmpty {
      let tight = decode(body, format, DecodedBounds(bytes: output.count - 1, ratio: 1), room: room)
      precondition(tight == .failure(.tooLarge(limit: output.count - 1)), "a bound was passed")
    }
    // The library's call knows gzip only by one member at a time.
    if format != .gzip {
      let own = ownCall(body, format, most: bounds.bytes)
      // zstd's stream takes a compressed block of no bytes for an empty one, its call doesn't (seen with 1.5.4).
      let isLenient = own == nil && format == .zstd && holdsEmptyCompressedBlock(body)
      precondition(own == output || isLenient, "not what the library makes of it")
    }
  case .failure(.corrupt), .failure(.truncated):
    // The window's bound is ours, and a body that ends before it begins is nothing to zstd's call.
    if format == .zlib || format == .brotli {
      precondition(ownCall(body, format, most: bounds.bytes) == nil, "the library makes something of it")
    }
  case .failure(.trailing(let bytes)):
    precondition(bytes > 0 && bytes < body.count, "more is left over than there was")
    let whole = decode(body.dropLast(bytes), format, bounds, room: room)
    guard case .success = whole else { preconditionFailure("without what is left over it isn't whole") }
  case .failure(.tooLarge(let limit)): precondition(limit == bounds.bytes, "another limit")
  case .failure(.tooDense): preconditionFailure("the limit is below what the ratio always allows")
  }
  return 0
}

private func decode(
  _ body: [UInt8], _ format: CompressionFormat, _ bounds: DecodedBounds, room: Int
) -> Result<[UInt8], Decompression.Failure> {
  do throws(Decompression.Failure) {
    return .success(try Decompression.decode(body.span.bytes, as: format, within: bounds, room: room))
  } catch {
    // How the library puts it may depend on the room; that it is corrupt may not.
    if case .corrupt = error { return .failure(.corrupt("")) }
    return .failure(error)
  }
}

/// The library's result for a body in one call; nil if it is an error.
private func ownCall(_ body: [UInt8], _ format: CompressionFormat, most: Int) -> [UInt8]? {
  var worked = false
  let output = [UInt8](unsafeUninitializedCapacity: most) { room, count in
    var size = most
    switch format {
    case .gzip: preconditionFailure("zlib has no call for it")
    case .zlib:
      var (length, used) = (UInt(most), UInt(body.count))
      worked = uncompress2(room.baseAddress, &length, body, &used) == Z_OK && used == body.count
      size = Int(length)
    case .zstd:
      size = ZSTD_decompress(room.baseAddress, most, body, body.count)
      worked = ZSTD_isError(size) == 0
    case .brotli:
      worked = BrotliDecoderDecompress(body.count, body, &size, room.baseAddress) == BROTLI_DECODER_RESULT_SUCCESS
    }
    count = worked ? size : 0
  }
  return worked ? output : nil
}

/// Whether a body of frames that can be decoded holds a compressed block of no bytes (RFC 8878, 3.1.1).
private func holdsEmptyCompressedBlock(_ body: [UInt8]) -> Bool {
  var rest = body[...]
  func number(_ bytes: ArraySlice<UInt8>) -> Int { bytes.reversed().reduce(0) { $0 << 8 | Int($1) } }
  while rest.count >= 8 {
    if number(rest.prefix(4)) & ~0xF == 0x184D_2A50 {
      rest = rest.dropFirst(8 + number(rest.dropFirst(4).prefix(4)))
      continue
    }
    let descriptor = rest[rest.startIndex + 4]
    let isSingleSegment = descriptor & 0x20 != 0
    let sizeOfSize = [isSingleSegment ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
    rest = rest.dropFirst(5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][Int(descriptor & 3)] + sizeOfSize)
    var isLast = false
    while !isLast && rest.count >= 3 {
      let header = number(rest.prefix(3))
      isLast = header & 1 != 0
      let (kind, size) = (header >> 1 & 3, header >> 3)
      if kind == 2 && size == 0 { return true }
      // A block of one byte repeated holds that byte only.
      rest = rest.dropFirst(3 + (kind == 1 ? 1 : size))
    }
    if descriptor & 4 != 0 { rest = rest.dropFirst(4) }
  }
  return false
}
