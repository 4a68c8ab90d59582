// zlib's inflate over a body that is there as a whole: with a bound on what comes out, and with a name for everything that can be
// wrong with what goes in. Output grows as it comes; nothing is believed of the size that gzip's trailer announces.

internal import CZlib

/// Undoes gzip or zlib.
enum Inflation {
  enum Format: String, Sendable {
    case gzip
    case zlib
  }

  enum Failure: Error, Equatable {
    /// The stream isn't valid, in zlib's words.
    case corrupt(String)
    /// The stream has no end.
    case truncated
    /// After the stream's end so many bytes come that aren't another gzip member.
    case trailing(bytes: Int)
    /// More than the limit comes out.
    case tooLarge(limit: Int)
  }

  /// What the bytes say that they are, by their first two.
  static func format(of body: ArraySlice<UInt8>) -> Format? {
    guard body.count >= 2 else { return nil }
    let (first, second) = (body[body.startIndex], body[body.startIndex + 1])
    if first == 0x1F && second == 0x8B { return .gzip }
    // Deflate with a window of 32 KiB, at one of the four levels that zlib writes, without a preset dictionary; the two bytes
    // as a number are a multiple of 31.
    if first == 0x78 && [0x01, 0x5E, 0x9C, 0xDA].contains(second) { return .zlib }
    return nil
  }

  /// - Parameter limit: The most bytes that may come out.
  static func inflate(
    _ body: ArraySlice<UInt8>, as format: Format, limit: Int
  ) throws(Failure) -> [UInt8] {
    // On the heap: zlib checks that the stream still is where it was initialised.
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    defer { stream.deallocate() }
    let windowBits = format == .gzip ? MAX_WBITS + 16 : MAX_WBITS
    let begun = inflateInit2_(stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard begun == Z_OK else { throw .corrupt(words(stream, begun)) }
    defer { inflateEnd(stream) }
    let result: Result<[UInt8], Failure> = body.withUnsafeBufferPointer { input in
      do throws(Failure) {
        return .success(try run(stream, on: input, as: format, limit: limit))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private static func run(
    _ stream: UnsafeMutablePointer<z_stream>, on input: UnsafeBufferPointer<UInt8>, as format: Format, limit: Int
  ) throws(Failure) -> [UInt8] {
    // zlib counts in 32 bits; no payload comes near, but a wrapped count would be silent.
    guard input.count <= Int(UInt32.max) else { throw .corrupt("more than 4 GiB of input") }
    stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
    stream.pointee.avail_in = UInt32(input.count)
    var output: [UInt8] = []
    output.reserveCapacity(min(limit, input.count * 4))
    // One byte more than the limit may come out, to tell "exactly the limit" from "more".
    let chunk = 64 << 10
    while true {
      let room = min(chunk, limit + 1 - output.count)
      var status = Z_OK
      output.append(
        contentsOf: [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
          stream.pointee.next_out = buffer.baseAddress
          stream.pointee.avail_out = UInt32(room)
          status = CZlib.inflate(stream, Z_NO_FLUSH)
          count = room - Int(stream.pointee.avail_out)
        })
      guard output.count <= limit else { throw .tooLarge(limit: limit) }
      switch status {
      case Z_OK: continue
      case Z_STREAM_END:
        let left = Int(stream.pointee.avail_in)
        if left == 0 { return output }
        // RFC 1952: a gzip file is one member or several, one after another.
        let rest = input.suffix(left)
        guard format == .gzip, rest.first == 0x1F, rest.dropFirst().first ?? 0x8B == 0x8B else {
          throw .trailing(bytes: left)
        }
        guard inflateReset(stream) == Z_OK else { throw .corrupt(words(stream, status)) }
      // No progress was possible: with room for output that means that the input has ended too early.
      case Z_BUF_ERROR: throw .truncated
      default: throw .corrupt(words(stream, status))
      }
    }
  }

  private static func words(_ stream: UnsafeMutablePointer<z_stream>, _ status: Int32) -> String {
    if let message = stream.pointee.msg { return String(cString: message) }
    return status == Z_NEED_DICT ? "a preset dictionary is needed" : "zlib's status \(status)"
  }
}

extension Inflation.Failure: CustomStringConvertible {
  var description: String {
    switch self {
    case .corrupt(let why): "it is corrupt (\(why))"
    case .truncated: "its end is missing"
    case .trailing(let bytes): "\(bytes) bytes come after its end"
    case .tooLarge(let limit): "more than \(limit) bytes come out of it"
    }
  }
}
