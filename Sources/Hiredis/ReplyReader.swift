// Bytes in, replies out, through hiredis's reader.
//
// hiredis parses, and calls our own object functions. These build Swift values directly, so no C object is created only
// to be copied. The reader by itself has no limits: it trusts `*100000000` and would allocate for it, it buffers a bulk
// string of any announced length, and it searches an unfinished line again from its start at every feed. So the limits
// are checked here. Beyond a limit, as after any error, the reader can't be used any more: later replies in the stream
// can't be recognised, so the connection must be closed. Nothing of this depends on how the stream is cut.
//
// Memory stays within one reply's limit and one feed, whatever was read before. hiredis moves unread bytes to the front
// of its buffer after each reply, once it has read a kilobyte. But it releases the memory of its largest reply only
// when a feed leaves nothing unread. If replies are pipelined, nearly every feed ends in the middle of one. So the
// memory is released here.
//
// Known and accepted: hiredis 0.14 doesn't check the CRLF that closes a bulk string, and it supports RESP2 only, nested
// at most eight deep (a ninth level is reported as a protocol error).

internal import CHiredis

/// Maximum sizes of a reply. Redis itself has no such limits, so each connection sets its own.
public struct ReplyLimits: Sendable, Equatable {
  /// Elements in one array, and in all arrays of one reply together.
  public var elements: Int
  /// Bytes of all strings in one reply together, and unread bytes of an incomplete string. At most 1 GiB: a higher
  /// value is reduced to that, because hiredis counts unread bytes with a C `int`.
  public var bytes: Int

  public init(elements: Int = 4_000_000, bytes: Int = 256 << 20) {
    self.elements = elements
    self.bytes = bytes
  }
}

/// The stream can't be read any further. The reader that threw this must not be used again.
public enum ReplyError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Not RESP2. The value is hiredis's error text.
  case malformed(String)
  /// RESP2, but more than the reader's limits allow.
  case overLimit(String)

  public var description: String {
    switch self {
    case .malformed(let why): "the reply isn't RESP2: \(why)"
    case .overLimit(let why): "the reply is over a limit: \(why)"
    }
  }
}

/// Parses the bytes of one connection into replies. The result doesn't depend on how the bytes are cut.
public struct ReplyReader: ~Copyable {
  private let reader: UnsafeMutablePointer<redisReader>
  private let assembly: UnsafeMutablePointer<ReplyAssembly>
  private let limits: ReplyLimits
  private var failure: ReplyError?
  /// Longer than a 64-bit number with its sign and two line ends.
  private static let longestHeader = 32
  /// Maximum bytes of a status or error text. Redis's own are far shorter, and those of scripts should be too.
  public static let longestLine = 1 << 16

  /// - Parameter limits: A reply beyond these is refused, and the stream can't be read any further.
  public init(limits: ReplyLimits = ReplyLimits()) {
    var limits = limits
    limits.bytes = min(limits.bytes, 1 << 30)
    self.limits = limits
    assembly = .allocate(capacity: 1)
    assembly.initialize(to: ReplyAssembly(limits: limits))
    guard let reader = redisReaderCreateWithFunctions(ReplyAssembly.functions) else {
      // malloc of a few hundred bytes failed, so no answer could be written either.
      fatalError("no memory for a reply reader")
    }
    self.reader = reader
    // `assembly` lives exactly as long as `reader`: both end in deinit.
    reader.pointee.privdata = UnsafeMutableRawPointer(assembly)
    // So that a snapshot doesn't allocate a buffer for each bucket.
    reader.pointee.maxbuf = Self.keptCapacity
  }

  deinit {
    redisReaderFree(reader)
    assembly.deinitialize(count: 1)
    assembly.deallocate()
  }

  /// A buffer of up to this number of bytes is kept between replies, even if little of it is used.
  static let keptCapacity = 1 << 20

  /// The memory of the buffer in bytes.
  public var capacity: Int { sdsalloc(reader.pointee.buf) }

  /// The size of the last reply: the elements of all its arrays, and the bytes of all its strings.
  public private(set) var lastSize = (elements: 0, bytes: 0)

  /// Bytes of a reply that isn't complete yet.
  public var waitingBytes: Int { reader.pointee.len - reader.pointee.pos }

  /// Adds bytes of the stream. Call ``next()`` until it returns nil before the next feed.
  public mutating func feed(_ bytes: UnsafeRawBufferPointer) throws(ReplyError) {
    if let failure { throw failure }
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    if redisReaderFeed(reader, base.assumingMemoryBound(to: CChar.self), bytes.count) != REDIS_OK {
      throw fail(.malformed(errorText))
    }
  }

  /// Adds bytes of the stream.
  public mutating func feed(_ bytes: [UInt8]) throws(ReplyError) {
    let outcome: Result<Void, ReplyError> = bytes.withUnsafeBytes { raw in
      do throws(ReplyError) { return .success(try feed(raw)) } catch { return .failure(error) }
    }
    try outcome.get()
  }

  /// The next complete reply, or nil until more bytes have arrived.
  public mutating func next() throws(ReplyError) -> RedisReply? {
    if let failure { throw failure }
    var object: UnsafeMutableRawPointer?
    if redisReaderGetReply(reader, &object) != REDIS_OK {
      throw fail(assembly.pointee.refusal.map { .overLimit($0) } ?? .malformed(errorText))
    }
    if object == nil {
      if let why = whyNotToWait { throw fail(why) }
      return nil
    }
    shrink()
    lastSize = assembly.pointee.size
    return assembly.pointee.take()
  }

  /// Releases the memory that a large reply needed. hiredis at most doubles its buffer, so a buffer in full use is
  /// kept.
  private func shrink() {
    guard capacity > Self.keptCapacity, capacity > 4 * reader.pointee.len,
      let smaller = sdsRemoveFreeSpace(reader.pointee.buf)
    else { return }
    reader.pointee.buf = smaller
  }

  /// Why waiting for the rest of a reply is useless, or nil if it isn't.
  private var whyNotToWait: ReplyError? {
    let waiting = waitingBytes
    guard waiting > Self.longestHeader else { return nil }
    let type = withUnsafeBytes(of: &reader.pointee.rstack) { raw in
      raw.assumingMemoryBound(to: redisReadTask.self)[Int(reader.pointee.ridx)].type
    }
    guard type == REDIS_REPLY_STRING else {
      return waiting > Self.longestLine + 1
        ? .overLimit("\(waiting) bytes without the end of a line, the limit is \(Self.longestLine)") : nil
    }
    let header = UnsafeRawBufferPointer(start: reader.pointee.buf + reader.pointee.pos, count: Self.longestHeader)
    guard zip(header, header.dropFirst()).contains(where: { $0 == (UInt8(ascii: "\r"), UInt8(ascii: "\n")) }) else {
      return .malformed("a string's length doesn't end")
    }
    // hiredis buffers a string until it is complete, so its announced length alone costs nothing.
    return waiting > limits.bytes + Self.longestHeader
      ? .overLimit("\(waiting) bytes without a complete string, the limit is \(limits.bytes)") : nil
  }

  private mutating func fail(_ error: ReplyError) -> ReplyError {
    failure = error
    return error
  }

  private var errorText: String {
    withUnsafeBytes(of: reader.pointee.errstr) { raw in
      String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
