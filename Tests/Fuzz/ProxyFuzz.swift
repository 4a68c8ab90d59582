// What libFuzzer calls with each input of its own: see Scripts/fuzz. Compiled together with Sources/ClientAddress as one
// module.
//
// An input is the beginning of a connection. It is read at once, and byte by byte until it is known what it is.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzProxyHeader(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: data, count: count))
  let whole = read(input[...])

  var given = 0
  var told = read([])
  while told == .incomplete, given < input.count {
    if given >= longest(input) { fatalError("\(given) bytes aren't enough") }
    given += 1
    told = read(input[..<given])
    if read(input[..<given]) != told { fatalError("the same bytes are another thing the second time") }
  }
  if told != whole { fatalError("\(told) after \(given) bytes, \(whole) after all \(input.count)") }

  switch whole {
  case .incomplete: if input.count >= longest(input) { fatalError("\(input.count) bytes aren't enough") }
  case .complete(let length, let source):
    if length != given { fatalError("a header of \(length) bytes is complete with \(given)") }
    if length > longest(input) { fatalError("a header of \(length) bytes") }
    if let source { checkText(of: source) }
    // Nothing behind it counts.
    if read(input[..<length] + [0]) != whole { fatalError("it depends on what follows") }
  case .refused(.wrongChecksum): checkRepaired(input, given)
  case .refused: break
  }
  return 0
}

/// Use memory that ends with the bytes, so that the sanitizer detects reads beyond them.
private func read(_ bytes: ArraySlice<UInt8>) -> ProxyHeader.Outcome {
  let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
  defer { memory.deallocate() }
  memory.copyBytes(from: bytes)
  return ProxyHeader.parse(UnsafeRawBufferPointer(memory).bytes)
}

/// How many bytes a header that begins so may have.
private func longest(_ input: [UInt8]) -> Int {
  input.first == UInt8(ascii: "P") ? ProxyHeader.maximumLineLength : ProxyHeader.maximumLength
}

private func checkText(of address: IPAddress) {
  do throws(InvalidAddress) {
    if try IPAddress("\(address)") != address { fatalError("\(address) is read as another address") }
  } catch {
    fatalError("\(address) is no address: \(error)")
  }
}

/// With the checksum of its bytes it must be complete: nothing else was wrong with it.
private func checkRepaired(_ input: [UInt8], _ length: Int) {
  var header = Array(input[..<length])
  let addresses = [0x10: 12, 0x20: 36, 0x30: 216][header[13] & 0xF0] ?? 0
  var at = 16 + addresses
  while header[at] != 0x03 { at += 3 + Int(header[at + 1]) << 8 + Int(header[at + 2]) }
  let checksum = ProxyBlock.checksum(of: header.span.bytes, 0..<length, without: at + 3..<at + 7)
  for index in 0..<4 { header[at + 3 + index] = UInt8(truncatingIfNeeded: checksum >> (24 - 8 * index)) }
  guard case .complete(length, _) = read(header[...]) else {
    fatalError("with the right checksum it is \(read(header[...]))")
  }
}
