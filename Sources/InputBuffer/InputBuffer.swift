// Bytes that a peer has sent and that weren't consumed yet: the only buffer between a socket and a parser.
//
// `ByteBuffer` alone isn't enough. It frees consumed bytes only when it is empty, and a peer can prevent that: if each
// packet ends one request and begins the next, the buffer never becomes empty. Then it grows with every byte sent,
// until its 32-bit index overflows and ends the process. So this type frees consumed bytes whenever it would have to
// grow.
//
// Guarantee: the memory held is less than twice the maximum of unread bytes, or the memory of the largest append. So a
// caller that stops reading at a limit holds a bounded amount, whatever the peer sends and however it is cut.
//
// Rejected: `discardReadBytes()` after each step. It moves the unread bytes each time, even if there is free space. If
// a slice of a body is still referenced elsewhere, it copies the whole storage.

// Functions that each read uses are inlined into other modules; rarely used ones aren't.

public import NIOCore

/// Unread input of one connection. Memory is bounded by the unread bytes, not by all received bytes.
public struct InputBuffer: Sendable {
  @usableFromInline var unread = ByteBuffer()

  @inlinable public init() {}

  /// The unread bytes.
  @inlinable public var bytes: ByteBuffer { unread }

  /// The number of unread bytes.
  @inlinable public var count: Int { unread.readableBytes }

  /// The memory of this buffer in bytes.
  public var capacity: Int { unread.storageCapacity }

  /// Adds bytes after the unread ones. Uses the memory of `more` if nothing is unread.
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

  /// Releases memory that the unread bytes don't need: all of it if nothing is unread. Otherwise a peer that sends
  /// much, and then stops after the first byte of a request, would keep a whole read's memory in use for that one byte.
  @inlinable public mutating func releaseSpareMemory() {
    if unread.readableBytes == 0 { unread = ByteBuffer() } else { shrink() }
  }

  @usableFromInline mutating func shrink() {
    // Below this number of bytes memory isn't worth a copy.
    guard unread.storageCapacity > max(4 << 10, 4 * unread.readableBytes) else { return }
    unread = ByteBufferAllocator().buffer(buffer: unread)
  }

  /// Removes the unread bytes and releases the memory.
  public mutating func clear() { unread = ByteBuffer() }
}
