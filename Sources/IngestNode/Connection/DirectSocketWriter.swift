// A connection's socket, for its answers. NIO's way there, through the pipeline and a queue of pending writes, costs a third as much as all that
// is ours of a push, and an answer is some hundred bytes that the kernel nearly always has room for. So they are put there past
// NIO; what the kernel has no room for goes NIO's way, which waits until there is some.
//
// The descriptor is NIO's. After NIO has closed it the same number may be another client's, so it must be let go of with the channel. NIO
// closes a socket, fails the promises of what is pending, and calls `channelInactive`, without a turn of the event loop in between:
// whoever holds this lets go of it at whichever comes first.

internal import Foundation
internal import NIOCore

struct DirectSocketWriter {
  private let descriptor: NIOBSDSocket.Handle

  /// nil where the channel isn't a socket, or is closed already.
  init?(of pipeline: ChannelPipeline) {
    do {
      let descriptor = try pipeline.syncOperations.withUnsafeTransportIfAvailable { (it: NIOBSDSocket.Handle) in it }
      guard let descriptor else { return nil }
      self.descriptor = descriptor
    } catch {
      // All that NIO throws here is that it is closed, and then there is nothing to be written.
      return nil
    }
  }

  /// Whether the client has gone altogether, and has not only ended what it sends: it reads no answer.
  var isReset: Bool {
    #if canImport(Glibc)
      var info = tcp_info()
      var length = socklen_t(MemoryLayout<tcp_info>.size)
      // TCP_CLOSE. After the end of what the client sends alone it is TCP_CLOSE_WAIT.
      return getsockopt(descriptor, CInt(IPPROTO_TCP), TCP_INFO, &info, &length) == 0 && info.tcpi_state == 7
    #else
      return false
    #endif
  }

  /// Gives the kernel what it has room for, without waiting.
  /// - Returns: How many bytes that was; 0 also where the connection is broken, which NIO's own writing finds out and acts on.
  func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    while true {
      let count = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
      if count >= 0 { return count }
      if errno != EINTR { return 0 }
    }
  }
}
