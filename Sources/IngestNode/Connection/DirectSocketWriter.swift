// Writes a connection's answers to its socket. NIO's path through the pipeline and a queue of pending writes costs a
// third as much as all of our own code for a push. An answer is some hundred bytes, which nearly always fit into the
// kernel's buffer. So answers are written directly. Bytes that don't fit go through NIO, which waits until they do.
//
// The descriptor belongs to NIO. After NIO has closed it, another client's connection may get the same number, so this
// value must be discarded with the channel. NIO closes a socket, fails the promises of pending writes, and calls
// `channelInactive`, without a turn of the event loop in between. The owner of this value discards it at the first of
// these calls.

internal import Foundation
internal import NIOCore

struct DirectSocketWriter {
  private let descriptor: NIOBSDSocket.Handle

  /// nil if the channel isn't a socket, or is closed already.
  init?(of pipeline: ChannelPipeline) {
    do {
      let descriptor = try pipeline.syncOperations.withUnsafeTransportIfAvailable { (it: NIOBSDSocket.Handle) in it }
      guard let descriptor else { return nil }
      self.descriptor = descriptor
    } catch {
      // NIO throws here only if the channel is closed, and then there is nothing to write.
      return nil
    }
  }

  /// Whether the client has disconnected completely, and not only closed its sending side. Then it reads no answer.
  var isReset: Bool {
    #if canImport(Glibc)
      var info = tcp_info()
      var length = socklen_t(MemoryLayout<tcp_info>.size)
      // TCP_CLOSE. If only the client has closed its side, the state is TCP_CLOSE_WAIT.
      return getsockopt(descriptor, CInt(IPPROTO_TCP), TCP_INFO, &info, &length) == 0 && info.tcpi_state == 7
    #else
      return false
    #endif
  }

  /// Writes as many bytes as fit into the kernel's buffer, without waiting.
  /// - Returns: Their number. Also 0 if the connection is broken; NIO's own write detects that and acts on it.
  func write(_ bytes: UnsafeRawBufferPointer) -> Int {
    while true {
      let count = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
      if count >= 0 { return count }
      if errno != EINTR { return 0 }
    }
  }
}
