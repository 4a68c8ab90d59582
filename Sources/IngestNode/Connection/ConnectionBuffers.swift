// What a connection's machine works on: the machine, what came and wasn't consumed, what is to be written, and whether it goes on at all. One value, so that a step is one
// access to the connection's handler: Swift checks each access to an object's property as long as it lasts, and a push that looked at
// three of them at every step spent a fifth of its instructions on these checks.

internal import HTTPFraming
internal import InputBuffer
internal import NIOCore

struct ConnectionBuffers: ~Copyable {
  var machine: RequestConnection
  private var input = InputBuffer()
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

  /// What came and wasn't consumed.
  var unread: ByteBuffer { input.bytes }

  /// How many bytes of memory are held for it.
  var inputCapacity: Int { input.capacity }

  /// - Parameter sentAhead: As in ``wantsMore(than:)``.
  /// - Returns: Whether more was wanted.
  mutating func append(_ bytes: ByteBuffer, sentAhead: Int) -> Bool {
    defer { input.append(bytes) }
    return wantsMore(than: sentAhead)
  }

  mutating func skip(_ length: Int) { input.consume(length) }

  mutating func take(_ length: Int) -> ByteBuffer { input.take(length) }

  /// Whether more may come than what isn't consumed yet.
  /// - Parameter sentAhead: How many bytes of that there may be at most.
  func wantsMore(than sentAhead: Int) -> Bool { input.count <= sentAhead && isWritable }

  // MARK: The machine

  enum Turn {
    case step(Step)
    /// Write what there is, and come again.
    case flush
    /// There is nothing to be done now.
    case rest
  }

  /// Whether the machine may be asked: nobody does so already, and there is somebody to do it for.
  var mayBeDriven: Bool { !isDriven && !isClosed }

  /// What is to be done first.
  /// - Returns: nil where the machine isn't to be asked now: somebody does so already, or there is nobody to do it for.
  mutating func beginDriving(gathering gathered: Int) -> Turn? {
    guard mayBeDriven else { return nil }
    isDriven = true
    return next(gathering: gathered)
  }

  /// What is to be done next.
  /// - Parameter gathered: How many bytes of answers are gathered at most.
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

  /// Where a connection is when nothing can be done for it now.
  struct Rest {
    let phase: ConnectionPhase
    /// In every respect: the client reads its answers.
    let isIdle: Bool
    let wantsMore: Bool
    /// Something is to be written, and where the connection is afterwards is another question.
    let hasOutput: Bool
  }

  /// Lets go of input that is consumed or isn't wanted any more.
  mutating func settle(sentAhead: Int) -> Rest {
    let phase = machine.phaseInPlace()
    if phase == .closed { input.clear() } else { input.releaseSpareMemory() }
    return Rest(
      phase: phase, isIdle: phase == .idle && isWritable, wantsMore: wantsMore(than: sentAhead),
      hasOutput: output.readableBytes > 0)
  }

  // MARK: Out

  mutating func write(_ bytes: [UInt8]) { output.writeBytes(bytes) }

  mutating func write(_ reply: Reply, _ framing: ResponseFraming) { reply.write(framing, to: &output) }

  /// What there is to be written after the kernel was given what it has room for.
  enum Left {
    case nothing, some
    /// There wasn't anything before.
    case nothingAsBefore
  }

  /// Puts what is to be written into the kernel, as far as that has room for it.
  /// - Parameter socket: nil where it must go another way.
  mutating func flush(to socket: DirectSocketWriter?) -> Left {
    guard output.readableBytes > 0 else { return .nothingAsBefore }
    guard let socket else { return .some }
    let count = output.withUnsafeReadableBytes { socket.write($0) }
    output.moveReaderIndex(forwardBy: count)
    guard output.readableBytes == 0 else { return .some }
    // The memory is there for the next answer; a large one's isn't kept.
    if output.capacity <= 1 << 10 { output.clear() } else { output = ByteBuffer() }
    return .nothing
  }

  /// What is to be written, for whoever writes it.
  mutating func takeOutput() -> ByteBuffer {
    defer { output = ByteBuffer() }
    return output
  }
}
