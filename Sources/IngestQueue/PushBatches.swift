// What waits to be pushed, as ready-made commands: no I/O and no clock.
//
// An entry is encoded once, when it is submitted, straight into the buffer of the batch that will carry it. A variadic LPUSH
// begins with the number of its elements, which isn't known before the batch is closed; so room for the command's beginning
// is left in front, and it is written so that it ends where the elements begin. One buffer, one write, nothing moved.
//
// What holds for one slow or huge payload: the bounds are on what has arrived whole, so a client that sends slowly holds nobody. An
// envelope over the batch's bytes goes alone, and never with it what came before or after. On one connection nothing
// overtakes, so an entry waits for at most `bytes` of earlier ones and never beyond its deadline.

internal import DequeModule
public import NIOCore

/// The producer's bounds. Every one of them is felt as a `PushFailure`, never as a wait without end.
public struct ProducerLimits: Sendable, Equatable {
  /// Entries that one LPUSH may carry.
  public var entriesPerBatch: Int
  /// Bytes that one LPUSH may carry; an entry over it goes alone.
  public var bytesPerBatch: Int
  /// Batches that may wait for their answer at one time. With two, Redis has the next one when it has answered the first.
  public var batchesInFlight: Int
  /// Bytes that wait or are in flight, all batches together: also the largest entry there can be.
  public var bytes: Int
  /// Entries that may wait to be sent.
  public var waitingEntries: Int
  /// From being submitted to Redis's answer.
  public var deadline: TimeAmount

  public init(
    entriesPerBatch: Int = 512, bytesPerBatch: Int = 4 << 20, batchesInFlight: Int = 2, bytes: Int = 64 << 20,
    waitingEntries: Int = 10_000, deadline: TimeAmount = .seconds(2)
  ) {
    self.entriesPerBatch = entriesPerBatch
    self.bytesPerBatch = bytesPerBatch
    self.batchesInFlight = batchesInFlight
    self.bytes = bytes
    self.waitingEntries = waitingEntries
    self.deadline = deadline
  }
}

/// Entries that travel in one command and share its answer.
struct PushBatch<Waiter> {
  /// The whole command, once the batch was handed out.
  fileprivate(set) var command: ByteBuffer
  /// One for each entry, in their order.
  fileprivate(set) var waiters: [Waiter] = []
  /// The first entry's: what came later into the same batch has less time, so that no entry ever waits longer than it may.
  let deadline: NIODeadline
  /// Of the elements, as they count against the bounds.
  fileprivate(set) var bytes = 0
}

struct PushBatches<Waiter>: ~Copyable {
  private let key: String
  private let limits: ProducerLimits
  /// Room for the command's beginning: the name and the key, and three numbers of at most 20 digits.
  private let room: Int
  private var waiting: Deque<PushBatch<Waiter>> = []
  /// Where the next header is encoded first, because its length stands before it.
  private var line = ByteBuffer()

  private(set) var waitingEntries = 0
  /// Waiting and in flight.
  private(set) var bytes = 0
  private(set) var inFlight = 0

  init(key: String, limits: ProducerLimits) {
    self.key = key
    self.limits = limits
    room = key.utf8.count + 96
  }

  var isEmpty: Bool { waiting.isEmpty && inFlight == 0 }

  /// Takes an entry.
  /// - Throws: where it can't be taken; nothing was noted then.
  mutating func add(
    _ header: EnvelopeHeader, payload: ByteBuffer, waiter: Waiter, now: NIODeadline
  ) throws(PushFailure) {
    line.clear()
    header.write(to: &line)
    guard line.readableBytes <= EnvelopeHeader.longestLine else {
      throw .tooLarge(bytes: line.readableBytes, limit: EnvelopeHeader.longestLine)
    }
    let size = line.readableBytes + payload.readableBytes
    guard size <= limits.bytes else { throw .tooLarge(bytes: size, limit: limits.bytes) }
    guard waitingEntries < limits.waitingEntries else { throw .full(.entries(limits.waitingEntries)) }
    guard bytes + size <= limits.bytes else { throw .full(.bytes(limits.bytes)) }

    if !lastTakes(size) { waiting.append(newBatch(for: size, now: now)) }
    let last = waiting.index(before: waiting.endIndex)
    waiting[last].command.writeArgumentLength(size)
    waiting[last].command.writeImmutableBuffer(line)
    waiting[last].command.writeImmutableBuffer(payload)
    waiting[last].command.writeLineEnd()
    waiting[last].waiters.append(waiter)
    waiting[last].bytes += size
    waitingEntries += 1
    bytes += size
  }

  private func lastTakes(_ size: Int) -> Bool {
    guard let last = waiting.last else { return false }
    return last.waiters.count < limits.entriesPerBatch && last.bytes + size <= limits.bytesPerBatch
  }

  private func newBatch(for size: Int, now: NIODeadline) -> PushBatch<Waiter> {
    // Room for some entries of this size, so that a batch rarely has to be moved while it grows.
    var command = ByteBufferAllocator().buffer(capacity: room + max(size + 64, min(16 * size, 64 << 10)))
    command.writeRepeatingByte(0, count: room)
    return PushBatch(command: command, deadline: now + limits.deadline)
  }

  enum Next {
    /// Send it, and say ``finished(_:)`` when its outcome is known.
    case send(PushBatch<Waiter>)
    /// It waited until it was due; it wasn't sent. It counts no more.
    case late(PushBatch<Waiter>)
  }

  /// The batch that is to be dealt with now, if there is one.
  mutating func next(now: NIODeadline) -> Next? {
    guard inFlight < limits.batchesInFlight, var batch = waiting.popFirst() else { return nil }
    waitingEntries -= batch.waiters.count
    if batch.deadline <= now {
      bytes -= batch.bytes
      return .late(batch)
    }
    inFlight += 1
    writeBeginning(of: &batch)
    return .send(batch)
  }

  private func writeBeginning(of batch: inout PushBatch<Waiter>) {
    var beginning = ByteBuffer()
    beginning.writeStaticString("*")
    beginning.writeDecimal(Int64(batch.waiters.count + 2))
    beginning.writeStaticString("\r\n$5\r\nLPUSH\r\n")
    beginning.writeArgumentLength(key.utf8.count)
    beginning.writeString(key)
    beginning.writeLineEnd()
    let start = room - beginning.readableBytes
    batch.command.setBuffer(beginning, at: start)
    batch.command.moveReaderIndex(to: start)
  }

  /// Notes that the outcome of a batch is known.
  mutating func finished(_ batch: PushBatch<Waiter>) {
    inFlight -= 1
    bytes -= batch.bytes
  }
}

extension ByteBuffer {
  fileprivate mutating func writeArgumentLength(_ length: Int) {
    writeStaticString("$")
    writeDecimal(Int64(length))
    writeLineEnd()
  }

  fileprivate mutating func writeLineEnd() { writeStaticString("\r\n") }
}
