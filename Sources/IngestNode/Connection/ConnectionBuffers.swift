// The state of a connection: its HTTP state machine, unconsumed input, unwritten output, and flags. It is one value, so
// that a step is one access to a property of the connection's handler. Swift checks each such access for exclusivity as
// long as it lasts. With three accesses in every step, a push spent a fifth of its instructions on these checks.

internal import HTTPFraming
internal import InputBuffer
internal import NIOCore

struct ConnectionBuffers: ~Copyable {
  var machine: RequestConnection
  private var input = InputBuffer()
  private(set) var output = ByteBuffer()

  /// Whether the client reads its answers, as NIO reported last. A client that doesn't gets no further answers.
  var isWritable = true
  /// Whether the connection waits for a verdict. Until then the state machine isn't called.
  var awaitsVerdict = false
  /// Whether the connection is closed.
  var isClosed = false
  private var isDriven = false

  init(limits: RequestLimits) { machine = RequestConnection(limits: limits) }

  // MARK: Input

  /// Input that wasn't consumed.
  var unread: ByteBuffer { input.bytes }

  /// The capacity of the input's memory in bytes.
  var inputCapacity: Int { input.capacity }

  /// - Parameter sentAhead: As in ``wantsMore(than:)``.
  /// - Returns: Whether the connection wanted more input.
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
    /// Write the output, and call again.
    case flush
    /// Nothing can be done now.
    case rest
  }

  /// Whether the state machine may be called: no caller is doing so already, and the connection is open.
  var mayBeDriven: Bool { !isDriven && !isClosed }

  /// The first action.
  /// - Returns: nil if the state machine mustn't be called now: the caller is within such a loop already, or the
  ///   connection is closed.
  mutating func beginDriving(gathering gathered: Int) -> Turn? {
    guard mayBeDriven else { return nil }
    isDriven = true
    return next(gathering: gathered)
  }

  /// The next action.
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

  /// Releases the memory of input that is consumed or isn't wanted any more.
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

  /// The output that is left after the kernel accepted as much as fits into its buffer.
  enum Left {
    case nothing, some
    /// There was no output to write.
    case nothingAsBefore
  }

  /// Writes as much of the output as fits into the kernel's buffer.
  /// - Parameter socket: nil if the output must be written through NIO.
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
