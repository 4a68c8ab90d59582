// Bytes that a peer has sent and that nobody has consumed yet: the one buffer between a socket and a parser.
//
// `ByteBuffer` alone isn't enough. It gives back what was consumed only when it is empty, and a peer decides whether it
// ever is: one that ends a request and begins the next in the same packet keeps it from becoming empty, and the buffer
// grows with every byte sent, until its 32-bit index ends and the process with it. So this type gives back what was
// consumed whenever it would have to grow.
//
// Guarantee: the memory held is less than twice the most bytes that were unread at once, or the memory of the largest
// append. A caller that stops reading at a limit therefore holds a bounded amount, whatever the peer sends and however
// it is cut.
//
// Rejected: `discardReadBytes()` after each step. It moves the unread bytes each time, even where there is room left;
// and where a slice of a body is still held elsewhere it copies the whole storage.

public import NIOCore

/// Unread input of one connection. Memory is bounded by what is unread, not by what was ever received.
public struct InputBuffer: Sendable {
  /// The unread bytes.
  public private(set) var bytes = ByteBuffer()

  public init() {}

  /// How many bytes are unread.
  public var count: Int { bytes.readableBytes }

  /// How many bytes of memory this buffer holds.
  public var capacity: Int { bytes.storageCapacity }

  /// Adds bytes behind the unread ones. Takes over the memory of `more` if nothing is unread.
  public mutating func append(_ more: ByteBuffer) {
    if bytes.readableBytes == 0 {
      bytes = more
    } else if bytes.writableBytes >= more.readableBytes {
      bytes.writeImmutableBuffer(more)
    } else {
      var joined = ByteBufferAllocator().buffer(capacity: bytes.readableBytes + more.readableBytes)
      joined.writeImmutableBuffer(bytes)
      joined.writeImmutableBuffer(more)
      bytes = joined
    }
  }

  /// Marks the first bytes as consumed.
  public mutating func consume(_ count: Int) { bytes.moveReaderIndex(forwardBy: count) }

  /// Consumes the first bytes and returns them. They share this buffer's memory, so nothing is copied.
  public mutating func take(_ count: Int) -> ByteBuffer {
    guard let part = bytes.readSlice(length: count) else {
      preconditionFailure("\(count) bytes were consumed, and only \(bytes.readableBytes) are unread")
    }
    return part
  }

  /// Lets go of memory that the unread bytes don't need: of all of it where nothing is unread. A peer that sends much,
  /// and then stops after the first byte of a request, would otherwise hold a whole read's memory with that one byte.
  public mutating func releaseSpareMemory() {
    if bytes.readableBytes == 0 {
      bytes = ByteBuffer()
    } else if bytes.storageCapacity > max(Self.smallest, 4 * bytes.readableBytes) {
      bytes = ByteBufferAllocator().buffer(buffer: bytes)
    }
  }

  /// Below this many bytes memory isn't worth a copy.
  private static let smallest = 4 << 10

  /// Lets go of the unread bytes and of the memory.
  public mutating func clear() { bytes = ByteBuffer() }
}
