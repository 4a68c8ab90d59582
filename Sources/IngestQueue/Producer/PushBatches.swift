// The payloads that wait to be pushed, as commands that are complete except for their beginning: no I/O and no clock.
//
// A batch is one write: an LPUSH for each list that it has entries for, nearly always one list. An entry is encoded
// once, when it is submitted, directly into the buffer of its LPUSH. The command begins with the name of its key and
// the number of its elements. The key is unknown until a shard is chosen, and the number is unknown until the batch is
// closed. So some bytes are left free in front, and the beginning is written later so that it ends where the elements
// begin. One buffer, one write, nothing is moved. A batch for several lists is joined by one copy. A batch that
// couldn't be sent gets another beginning and goes to another shard.
//
// Slow or huge payloads: the limits apply to payloads that have arrived completely, so a client that sends slowly
// delays no other. An entry larger than a batch's bytes is huge. It is sent alone, one at a time on a connection. Small
// entries don't wait behind all huge ones: small batches and huge entries take turns. So at most one huge entry and one
// small batch are ahead of the next small batch on its connection, whatever else waits; and nothing waits beyond its
// deadline. Rejected: a separate connection for huge entries, which would be one more for each event loop and shard.
// Redis itself processes one command at a time anyway.

internal import Bytes
internal import DequeModule
internal import NIOCore

/// Free bytes in front of a command's elements, for the command's beginning: two numbers, the command's name, and a
/// key, each of at most some 100 bytes.
private let room = 256

/// The entries of a batch that go to one list: one LPUSH, with its own reply.
struct PushPart<Waiter> {
  let list: Int
  /// One for each entry, in their order.
  fileprivate(set) var waiters: [Waiter] = []
  /// Bytes of the elements, as the limits count them.
  fileprivate(set) var bytes = 0
  /// The free bytes, then the elements.
  private var command: ByteBuffer

  /// - Parameter usual: Expected bytes of elements.
  fileprivate init(list: Int, firstSize size: Int, usual: Int) {
    self.list = list
    // Large enough that a growing command rarely has to be moved.
    command = ByteBufferAllocator().buffer(capacity: room + max(size + 64, usual, min(16 * size, 64 << 10)))
    command.writeRepeatingByte(0, count: room)
  }

  fileprivate mutating func add(_ line: ByteBuffer, _ payload: ByteBuffer, size: Int, waiter: Waiter) {
    // `$`, the digits and two line ends.
    command.writeWithUnsafeMutableBytes(minimumWritableBytes: size + 32) { room in
      var element = RawBufferWriter(room)
      element.write("$")
      element.write(decimal: Int64(size))
      element.write("\r\n")
      line.withUnsafeReadableBytes { element.write($0) }
      payload.withUnsafeReadableBytes { element.write($0) }
      element.write("\r\n")
      return element.count
    }
    waiters.append(waiter)
    bytes += size
  }

  /// The whole command, for this key.
  fileprivate mutating func encode(key: String) -> ByteBuffer {
    withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { bytes in
      var beginning = RawBufferWriter(bytes)
      beginning.write("*")
      beginning.write(decimal: Int64(waiters.count + 2))
      beginning.write("\r\n$5\r\nLPUSH\r\n$")
      beginning.write(decimal: Int64(key.utf8.count))
      beginning.write("\r\n")
      var key = key
      key.withUTF8 { beginning.write(UnsafeRawBufferPointer($0)) }
      beginning.write("\r\n")
      let start = room - beginning.count
      command.setBytes(UnsafeRawBufferPointer(rebasing: bytes[..<beginning.count]), at: start)
      command.moveReaderIndex(to: start)
    }
    return command
  }
}

/// Entries that are sent in one write.
struct PushBatch<Waiter> {
  /// One for each list, in the order of the lists' first entries.
  fileprivate(set) var parts: [PushPart<Waiter>] = []
  /// The first entry's deadline. Later entries of the batch have less time, so no entry ever waits longer than it may.
  let deadline: NIODeadline
  /// Whether it is a single entry that is larger than a batch.
  let isHuge: Bool
  /// Counts the memory that the huge entry uses; nil if it isn't counted.
  fileprivate(set) var huge: HugePayload?
  /// The hash of the huge entry's account.
  fileprivate(set) var hugeAccount: UInt64?
  fileprivate(set) var entries = 0
  fileprivate(set) var bytes = 0
  /// Bytes of its largest entry.
  fileprivate(set) var largest = 0
  /// How often it was taken and returned because it couldn't be sent.
  fileprivate(set) var returns = 0
  /// The usual bytes of recent batches.
  fileprivate let usual: Int

  fileprivate mutating func add(_ line: ByteBuffer, _ payload: ByteBuffer, list: Int, waiter: Waiter) {
    let size = line.readableBytes + payload.readableBytes
    let part: Int
    if let last = parts.indices.last, parts[last].list == list {
      part = last
    } else if let known = parts.firstIndex(where: { $0.list == list }) {
      part = known
    } else {
      part = parts.endIndex
      // Parts for several lists are copied into one buffer anyway.
      parts.append(PushPart(list: list, firstSize: size, usual: part == 0 ? usual : 0))
    }
    parts[part].add(line, payload, size: size, waiter: waiter)
    entries += 1
    bytes += size
    largest = max(largest, size)
  }

  /// All commands, for one write.
  fileprivate mutating func encode(for shard: PushDestination, now: NIODeadline) -> ByteBuffer {
    let keys = shard.keys
    if parts.count == 1, shard.confirmingReplicas == nil { return parts[0].encode(key: keys[parts[0].list]) }
    var buffer = ByteBufferAllocator().buffer(capacity: bytes + 32 * entries + 2 * room * parts.count)
    for part in parts.indices {
      buffer.writeImmutableBuffer(parts[part].encode(key: keys[parts[part].list]))
    }
    if let replicas = shard.confirmingReplicas {
      // A third of the remaining time: two batches in flight wait one after the other, and a wait beyond the deadline
      // would close the connection.
      let milliseconds = max(1, (deadline - now).nanoseconds / 3_000_000)
      buffer.writeStaticString("*3\r\n$4\r\nWAIT\r\n")
      for number in ["\(replicas)", "\(milliseconds)"] {
        buffer.writeArgumentLength(number.utf8.count)
        buffer.writeString(number)
        buffer.writeLineEnd()
      }
    }
    return buffer
  }
}

/// The properties of a shard that its commands depend on.
struct PushDestination {
  /// The keys of the pending lists.
  let keys: [String]
  /// The number of replicas that must confirm each batch: then the last command is a WAIT for them. nil for none.
  let confirmingReplicas: Int?

  /// The number of replies to a batch.
  func replies<Waiter>(to batch: PushBatch<Waiter>) -> Int {
    batch.parts.count + (confirmingReplicas == nil ? 0 : 1)
  }
}

struct PushBatches<Waiter>: ~Copyable {
  private let limits: ProducerLimits
  /// The batch that gathers entries.
  private var gathering: PushBatch<Waiter>?
  /// Complete small batches, the oldest first.
  private var full: Deque<PushBatch<Waiter>> = []
  private var huge: Deque<PushBatch<Waiter>> = []
  private var hugeIsNext = false

  private(set) var waitingEntries = 0
  /// Bytes of waiting batches and of those in flight.
  private(set) var bytes = 0
  private(set) var inFlight = 0
  /// The usual bytes of commands of recent batches.
  private var usual = 0

  init(limits: ProducerLimits) { self.limits = limits }

  var isEmpty: Bool { waitingEntries == 0 && inFlight == 0 }

  /// Adds an entry.
  /// - Parameter line: The line before the payload.
  /// - Throws: If it can't be added; nothing has changed then.
  mutating func add(
    line: ByteBuffer, payload: ByteBuffer, list: Int, waiter: Waiter, now: NIODeadline
  ) throws(EnqueueError) {
    guard line.readableBytes <= EnvelopeHeader.longestLine else {
      throw .tooLarge(bytes: line.readableBytes, limit: EnvelopeHeader.longestLine)
    }
    let size = line.readableBytes + payload.readableBytes
    guard size <= limits.bytes else { throw .tooLarge(bytes: size, limit: limits.bytes) }
    guard waitingEntries < limits.waitingEntries else { throw .full(.entries(limits.waitingEntries)) }
    guard bytes + size <= limits.bytes else { throw .full(.bytes(limits.bytes)) }

    waitingEntries += 1
    bytes += size
    if size > limits.bytesPerBatch {
      var batch = PushBatch<Waiter>(deadline: now + limits.deadline, isHuge: true, usual: 0)
      batch.add(line, payload, list: list, waiter: waiter)
      huge.append(batch)
      return
    }
    if let batch = gathering, batch.entries >= limits.entriesPerBatch || batch.bytes + size > limits.bytesPerBatch {
      full.append(batch)
      gathering = nil
    }
    if gathering == nil { gathering = PushBatch(deadline: now + limits.deadline, isHuge: false, usual: usual) }
    gathering?.add(line, payload, list: list, waiter: waiter)
  }

  /// Stores the memory count and the account of the huge entry that was added last.
  /// - Parameter account: The hash of its account.
  mutating func keepAccount(_ payload: HugePayload, of account: UInt64) {
    huge[huge.endIndex - 1].huge = payload
    huge[huge.endIndex - 1].hugeAccount = account
  }

  enum Next {
    /// Send these commands. Then call ``finished(_:)`` when their outcome is known, or ``putBack(_:)`` if they weren't
    /// sent.
    case send(PushBatch<Waiter>, commands: ByteBuffer)
    /// It waited until its deadline and wasn't sent. It is no longer counted.
    case late(PushBatch<Waiter>)
  }

  /// The next batch to process, if there is one.
  /// - Parameters:
  ///   - shard: Its destination.
  ///   - isHugeWelcome: Whether it may be a huge entry.
  mutating func next(for shard: PushDestination, now: NIODeadline, huge isHugeWelcome: Bool) -> Next? {
    guard var batch = take(huge: isHugeWelcome) else { return nil }
    waitingEntries -= batch.entries
    if batch.deadline <= now {
      bytes -= batch.bytes
      return .late(batch)
    }
    inFlight += 1
    // Encoded here, while nothing else refers to the batch. Otherwise its buffer might have to be copied.
    let commands = batch.encode(for: shard, now: now)
    return .send(batch, commands: commands)
  }

  private mutating func take(huge isHugeWelcome: Bool) -> PushBatch<Waiter>? {
    if isHugeWelcome, hugeIsNext || (full.isEmpty && gathering == nil), let batch = huge.popFirst() {
      hugeIsNext = false
      return batch
    }
    guard let batch = full.popFirst() ?? gathering.take() else { return nil }
    hugeIsNext = true
    // Includes the digits and line ends of each element. A larger size applies at once, a smaller one gradually.
    let taken = batch.bytes + 32 * batch.entries
    usual = taken > usual ? taken : usual - (usual - taken) / 8
    return batch
  }

  /// Takes back a batch that couldn't be sent: it will be the next of its kind.
  mutating func putBack(_ batch: PushBatch<Waiter>) {
    var batch = batch
    batch.returns += 1
    inFlight -= 1
    waitingEntries += batch.entries
    if batch.isHuge { huge.prepend(batch) } else { full.prepend(batch) }
  }

  /// Call it when the outcome of a batch is known.
  mutating func finished(_ batch: PushBatch<Waiter>) {
    inFlight -= 1
    bytes -= batch.bytes
  }

  /// Removes and returns all waiting batches. They are no longer counted.
  mutating func takeAll() -> [PushBatch<Waiter>] {
    let all = Array(full) + Array(huge) + [gathering].compactMap { $0 }
    full.removeAll()
    huge.removeAll()
    gathering = nil
    waitingEntries = 0
    for batch in all { bytes -= batch.bytes }
    return all
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
