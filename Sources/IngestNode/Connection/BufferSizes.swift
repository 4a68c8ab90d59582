// How much of a connection's bytes the node holds between the kernel and itself. Anybody can open thousands of
// connections, send requests ahead on each, and read no answer. So a connection has little until it has shown a key.

internal import NIOCore

/// Sizes of one connection's buffers, in bytes.
struct BufferSizes {
  /// How much is read at once; it begins small, and grows while reads fill it.
  let reads: AdaptiveRecvByteBufferAllocator
  /// Beyond how much of answers that the kernel has no room for the connection isn't served any more, and within how
  /// much again.
  let unsent: ChannelOptions.Types.WriteBufferWaterMark
  /// How many bytes of answers are gathered at most, but for one answer, before they are written.
  let gathered: Int

  /// Of answers in the kernel, for each connection; Linux takes twice as much memory for it. By itself it gives a
  /// connection up to 4 MiB, and with some hundred of those that read slowly what it has for all of TCP is used up:
  /// then it delays every connection of the machine, Redis's too, by seconds. Enough for a batch's answer within a few
  /// round trips.
  static let kernelUnsent = 32 << 10

  /// Of a connection that hasn't shown a key. A head of the usual size comes in one read.
  static let ofStranger = BufferSizes(
    reads: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2 << 10, maximum: 4 << 10),
    unsent: ChannelOptions.Types.WriteBufferWaterMark(low: 2 << 10, high: 4 << 10), gathered: 4 << 10)
  /// Of one that has.
  static let proven = BufferSizes(
    reads: AdaptiveRecvByteBufferAllocator(minimum: 64, initial: 2 << 10, maximum: 64 << 10),
    unsent: ChannelOptions.Types.WriteBufferWaterMark(low: 32 << 10, high: 64 << 10), gathered: 64 << 10)
}
