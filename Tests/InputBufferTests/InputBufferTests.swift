// The memory of a connection's input depends on its unread bytes, and not on all bytes that were ever received.

import InputBuffer
import NIOCore
import Testing

@Suite struct InputBufferTests {
  /// As a socket delivers it: a buffer of its own with some room to spare.
  private func piece(_ count: Int, room: Int = 0) -> ByteBuffer {
    var piece = ByteBufferAllocator().buffer(capacity: count + room)
    piece.writeRepeatingByte(7, count: count)
    return piece
  }

  @Test func `bytes come out as they went in, however they are cut`() {
    var input = InputBuffer()
    var (sent, received): ([UInt8], [UInt8]) = ([], [])
    for size in (1...400).map({ $0 * 37 % 61 }) {
      let part = (0..<size).map { UInt8(truncatingIfNeeded: sent.count + $0) }
      sent += part
      input.append(ByteBuffer(bytes: part))
      received += input.take(input.count * 2 / 3).readableBytesView
      if size % 5 == 0, input.count > 0 {
        received.append(input.bytes.readableBytesView.first ?? 0)
        input.consume(1)
      }
      input.releaseSpareMemory()
    }
    received += input.take(input.count).readableBytesView
    #expect(received == sent && input.count == 0)
  }

  @Test func `8 GiB that never leave the buffer empty don't make it grow`() {
    let (head, piece) = (16 << 10, piece(16 << 10))
    var input = InputBuffer()
    input.append(self.piece(head / 2))
    var received = 0
    var largest = 0
    while received < 8 << 30 {
      // Each read ends one request and begins the next.
      input.append(piece)
      received += head
      input.consume(head)
      largest = max(largest, input.capacity)
      guard input.count == head / 2, largest <= 4 * head else {
        Issue.record("after \(received) bytes \(input.capacity) are held for \(input.count)")
        return
      }
    }
    // It was never empty, and yet has given back what was consumed.
    #expect(largest >= head / 2)
  }

  @Test func `slices of it that others hold don't make it grow`() {
    var input = InputBuffer()
    var held = ByteBuffer()
    for _ in 0..<10_000 {
      input.append(piece(1_000, room: 1_000))
      held = input.take(input.count - 10)
      #expect(input.capacity <= 4_096)
    }
    #expect(held.readableBytes == 1_000)
  }

  @Test(arguments: [1, 100, 5_000]) func `one read's memory isn't held for the few bytes that are left of it`(left: Int)
  {
    var input = InputBuffer()
    input.append(piece(64 << 10))
    input.consume((64 << 10) - left)
    input.releaseSpareMemory()
    #expect(input.count == left && input.capacity <= max(4 << 10, 2 * left))
    input.consume(left)
    input.releaseSpareMemory()
    #expect(input.capacity == 0 && input.count == 0)
  }
}
