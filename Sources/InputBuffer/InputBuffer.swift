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

// What each read goes through is inlined into other modules; what happens seldom isn't.

public import NIOCore

/// Unread input of one connection. Memory is bounded by what is unread, not by what was ever received.
public struct InputBuffer: Sendable {
  @usableFromInline var unread = ByteBuffer()

  @inlinable public init() {}

  /// The unread bytes.
  @inlinable public var bytes: ByteBuffer { unread }

  /// How many bytes are unread.
  @inlinable public var count: Int { unread.readableBytes }

  /// How many bytes of memory this buffer holds.
  public var capacity: Int { unread.storageCapacity }

  /// Adds bytes behind the unread ones. Takes over the memory of `more` if nothing is unread.
  @inlinable public mutating func append(_ more: ByteBuffer) {
    if unread.readableBytes == 0 { unread = more } else { join(more) }
  }

  @usableFromInline mutating func join(_ more: ByteBuffer) {
    if unread.writableBytes >= more.readableBytes {
      unread.writeImmutableBuffer(more)
    } else {
      var joined = ByteBufferAllocator().buffer(capacity: unread.readableBytes + more.readableBytes)
      joined.writeImmutableBuffer(unread)
      joined.writeImmutableBuffer(more)
      unread = joined
    }
  }

  /// Marks the first bytes as consumed.
  @inlinable public mutating func consume(_ count: Int) { unread.moveReaderIndex(forwardBy: count) }

  /// Consumes the first bytes and returns them. They share this buffer's memory, so nothing is copied.
  @inlinable public mutating func take(_ count: Int) -> ByteBuffer {
    guard let part = unread.readSlice(length: count) else {
      preconditionFailure("more bytes were consumed than are unread")
    }
    return part
  }

  /// Lets go of memory that the unread bytes don't need: of all of it where nothing is unread. A peer that sends much,
  /// and then stops after the first byte of a request, would otherwise hold a whole read's memory with that one byte.
  @inlinable public mutating func releaseSpareMemory() {
    if unread.readableBytes == 0 { unread = ByteBuffer() } else { shrink() }
  }

  @usableFromInline mutating func shrink() {
    // Below this many bytes memory isn't worth a copy.
    guard unread.storageCapacity > max(4 << 10, 4 * unread.readableBytes) else { return }
    unread = ByteBufferAllocator().buffer(buffer: unread)
  }

  /// Lets go of the unread bytes and of the memory.
  public mutating func clear() { unread = ByteBuffer() }
}
