// How many of a connection's bytes the node buffers. Anybody can open thousands of connections, send requests ahead on
// each, and read no answer. So a connection has small buffers until it has sent an active key.

internal import NIOCore

/// Sizes of one connection's buffers, in bytes.
struct BufferSizes {
  /// The size of a read. It begins small, and grows while reads fill it.
  let reads: AdaptiveRecvByteBufferAllocator
  /// High-water and low-water mark, in bytes, of answers that don't fit into the kernel's buffer. Above the high mark
  /// the connection isn't served until the low mark is reached.
  let unsent: ChannelOptions.Types.WriteBufferWaterMark
  /// Maximum bytes of answers that are gathered before they are written; a single answer may be larger.
  let gathered: Int

  /// Maximum unsent bytes in the kernel for each connection; Linux uses twice as much memory for it. By default Linux
  /// allows a connection up to 4 MiB, and some hundred slow readers use up the memory of all TCP connections: then
  /// every connection of the machine, Redis's too, is delayed by seconds. This is enough for a batch's answer within a
  /// few round trips.
  static let kernelUnsent = 32 << 10

  /// For a connection that hasn't sent an active key. One read is enough for a head of the usual size.
  static let ofStranger = BufferSizes(
    reads: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2 << 10, maximum: 4 << 10),
    unsent: ChannelOptions.Types.WriteBufferWaterMark(low: 2 << 10, high: 4 << 10), gathered: 4 << 10)
  /// For a connection that has sent an active key.
  static let proven = BufferSizes(
    reads: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2 << 10, maximum: 64 << 10),
    unsent: ChannelOptions.Types.WriteBufferWaterMark(low: 32 << 10, high: 64 << 10), gathered: 64 << 10)
}
