// What a connection's machine works on: the machine, what came and wasn't consumed, what is to be written, and whether it goes on at all. One value, so that a step is one
// access to the connection's handler: Swift checks each access to an object's property as long as it lasts, and a push that looked at
// three of them at every step spent a fifth of its instructions on these checks.

internal import HTTPFraming
internal import NIOCore

struct Wire: ~Copyable {
  var machine: RequestConnection
  /// What came and wasn't consumed.
  private(set) var input = ByteBuffer()
  private(set) var output = ByteBuffer()

  /// Whether the client reads what is written for it, as NIO said last: who doesn't gets no further answers.
  var isWritable = true
  /// The machine isn't asked before the verdict has come.
  var awaitsVerdict = false
  /// Nothing comes and goes any more.
  var isClosed = false
  private var isDriven = false

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

  /// Whether more may come than what isn't consumed yet.
  /// - Parameter sentAhead: How many bytes of that there may be at most.
  func wantsMore(than sentAhead: Int) -> Bool { input.readableBytes <= sentAhead && isWritable }

  // MARK: The machine

  enum Turn {
    case step(Step)
    /// Write what there is, and come again.
    case flush
    /// There is nothing to be done now.
    case rest
  }

  /// - Returns: Whether the machine is to be asked now; not where somebody does so already, or there is nobody to do it for.
  mutating func beginDriving() -> Bool {
    guard !isDriven, !isClosed else { return false }
    isDriven = true
    return true
  }

  /// What is to be done next.
  /// - Parameter gathered: How many bytes of answers are gathered at most.
  mutating func next(gathering gathered: Int) -> Turn {
    guard !awaitsVerdict, !isClosed else { return .rest }
    let phase = machine.phase
    switch phase {
    case .closed: return .rest
    case .idle:
      if output.readableBytes >= gathered { return .flush }
      if !isWritable { return .rest }
    default: break
    }
    let input = input
    return .step(machine.next(input.readableBytesSpan))
  }

  mutating func endDriving() { isDriven = false }

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

  /// Puts what is to be written into the kernel, as far as that has room for it.
  /// - Returns: Whether that was all.
  mutating func write(to socket: KernelSocket) -> Bool {
    let count = output.withUnsafeReadableBytes { socket.write($0) }
    output.moveReaderIndex(forwardBy: count)
    guard output.readableBytes == 0 else { return false }
    // The memory is there for the next answer; a large one's isn't kept.
    if output.capacity <= 1 << 10 { output.clear() } else { output = ByteBuffer() }
    return true
  }

  /// What is to be written, for whoever writes it.
  mutating func takeOutput() -> ByteBuffer {
    defer { output = ByteBuffer() }
    return output
  }
}
