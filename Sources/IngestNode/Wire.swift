// What a connection's machine works on: the machine, what came and wasn't consumed, and what is to be written. One value, so that a step is one
// access to the connection's handler: Swift checks each access to an object's property as long as it lasts, and a push that looked at
// three of them at every step spent a fifth of its instructions on these checks.

internal import HTTPFraming
internal import NIOCore

struct Wire: ~Copyable {
  var machine: RequestConnection
  /// What came and wasn't consumed.
  private(set) var input = ByteBuffer()
  private(set) var output = ByteBuffer()

  init(limits: RequestLimits) { machine = RequestConnection(limits: limits) }

  // MARK: In

  mutating func append(_ bytes: ByteBuffer) {
    if input.readableBytes == 0 {
      input = bytes
    } else {
      input.writeImmutableBuffer(bytes)
    }
  }

  mutating func skip(_ length: Int) { input.moveReaderIndex(forwardBy: length) }

  mutating func take(_ length: Int) -> ByteBuffer {
    guard let part = input.readSlice(length: length) else {
      preconditionFailure("the machine took more than there is")
    }
    return part
  }

  enum Turn {
    case step(Step)
    /// Write what there is, and come again.
    case flush
    /// There is nothing to be done now.
    case rest
  }

  /// What is to be done next.
  /// - Parameters:
  ///   - isRead: Whether the client reads what is written: who doesn't gets no further answers.
  ///   - gathered: How many bytes of answers are gathered at most.
  mutating func next(isRead: Bool, gathering gathered: Int) -> Turn {
    let phase = machine.phase
    switch phase {
    case .closed: return .rest
    case .idle:
      if output.readableBytes >= gathered { return .flush }
      if !isRead { return .rest }
    default: break
    }
    let input = input
    return .step(machine.next(input.readableBytesSpan))
  }

  /// Lets go of input that is consumed or isn't wanted any more.
  /// - Returns: The phase that the connection is in.
  mutating func settle() -> ConnectionPhase {
    let phase = machine.phase
    if input.readableBytes == 0 || phase == .closed { input = ByteBuffer() }
    return phase
  }

  // MARK: Out

  mutating func write(_ bytes: [UInt8]) { output.writeBytes(bytes) }

  mutating func write(_ reply: Reply, _ framing: ResponseFraming) { reply.write(framing, to: &output) }

  /// All that was written here is on its way. Mostly it is in the kernel by now, and the memory is there for the next answer; a large one's
  /// isn't kept.
  mutating func wasHandedOn() {
    if output.capacity <= 1 << 10 { output.clear() } else { output = ByteBuffer() }
  }
}
