// The state of a connection: its HTTP state machine, unconsumed input, unwritten output, and whether it goes on. It is
// one value, so that a step is one access to the connection's handler. Swift checks each access to an object's property
// as long as it lasts, and a push with three such accesses in every step spent a fifth of its instructions on these
// checks.

internal import HTTPFraming
internal import InputBuffer
internal import NIOCore

struct ConnectionBuffers: ~Copyable {
  var machine: RequestConnection
  private var input = InputBuffer()
  private(set) var output = ByteBuffer()

  /// Whether the client reads its answers, as NIO reported last. A client that doesn't gets no further answers.
  var isWritable = true
  /// Whether the state machine waits for a verdict. It isn't asked before.
  var awaitsVerdict = false
  /// Whether the connection is closed.
  var isClosed = false
  private var isDriven = false

  init(limits: RequestLimits) { machine = RequestConnection(limits: limits) }

  // MARK: Input

  /// Input that wasn't consumed.
  var unread: ByteBuffer { input.bytes }

  /// The capacity of its memory in bytes.
  var inputCapacity: Int { input.capacity }

  /// - Parameter sentAhead: As in ``wantsMore(than:)``.
  /// - Returns: Whether more was wanted.
  mutating func append(_ bytes: ByteBuffer, sentAhead: Int) -> Bool {
    defer { input.append(bytes) }
    return wantsMore(than: sentAhead)
  }

  mutating func skip(_ length: Int) { input.consume(length) }

  mutating func take(_ length: Int) -> ByteBuffer { input.take(length) }

  /// Whether the connection should read more.
  /// - Parameter sentAhead: Maximum bytes of unconsumed input.
  func wantsMore(than sentAhead: Int) -> Bool { input.count <= sentAhead && isWritable }

  // MARK: The machine

  enum Turn {
    case step(Step)
    /// Write the output, and ask again.
    case flush
    /// There is nothing to be done now.
    case rest
  }

  /// Whether the state machine may be asked: no caller does so already, and the connection is open.
  var mayBeDriven: Bool { !isDriven && !isClosed }

  /// The first thing to do.
  /// - Returns: nil if the state machine mustn't be asked now: the caller is within such a loop already, or the
  ///   connection is closed.
  mutating func beginDriving(gathering gathered: Int) -> Turn? {
    guard mayBeDriven else { return nil }
    isDriven = true
    return next(gathering: gathered)
  }

  /// The next thing to do.
  /// - Parameter gathered: Maximum bytes of answers to gather before they are written.
  mutating func next(gathering gathered: Int) -> Turn {
    guard !awaitsVerdict, !isClosed else { return .rest }
    let phase = machine.phaseInPlace()
    switch phase {
    case .closed: return .rest
    case .idle:
      if output.readableBytes >= gathered { return .flush }
      if !isWritable { return .rest }
    default: break
    }
    let unread = input.bytes
    return .step(machine.next(unread.readableBytesSpan))
  }

  mutating func endDriving(sentAhead: Int) -> Rest {
    isDriven = false
    return settle(sentAhead: sentAhead)
  }

  /// The state of a connection when nothing can be done for it now.
  struct Rest {
    let phase: ConnectionPhase
    /// Whether it is idle in every respect, which includes that the client reads its answers.
    let isIdle: Bool
    let wantsMore: Bool
    /// Whether there is output to write. The connection's state after that is decided later.
    let hasOutput: Bool
  }

  /// Releases input that is consumed or isn't wanted any more.
  mutating func settle(sentAhead: Int) -> Rest {
    let phase = machine.phaseInPlace()
    if phase == .closed { input.clear() } else { input.releaseSpareMemory() }
    return Rest(
      phase: phase, isIdle: phase == .idle && isWritable, wantsMore: wantsMore(than: sentAhead),
      hasOutput: output.readableBytes > 0)
  }

  // MARK: Output

  mutating func write(_ bytes: [UInt8]) { output.writeBytes(bytes) }

  mutating func write(_ reply: Reply, _ framing: ResponseFraming) { reply.write(framing, to: &output) }

  /// The output that is left after the kernel took as much as it has room for.
  enum Left {
    case nothing, some
    /// There wasn't any output before.
    case nothingAsBefore
  }

  /// Writes the output to the kernel, as far as there is room.
  /// - Parameter socket: nil if it must be written through NIO.
  mutating func flush(to socket: DirectSocketWriter?) -> Left {
    guard output.readableBytes > 0 else { return .nothingAsBefore }
    guard let socket else { return .some }
    let count = output.withUnsafeReadableBytes { socket.write($0) }
    output.moveReaderIndex(forwardBy: count)
    guard output.readableBytes == 0 else { return .some }
    // The memory is reused for the next answer; a large one's isn't kept.
    if output.capacity <= 1 << 10 { output.clear() } else { output = ByteBuffer() }
    return .nothing
  }

  /// Returns the output to the caller, who writes it.
  mutating func takeOutput() -> ByteBuffer {
    defer { output = ByteBuffer() }
    return output
  }
}
