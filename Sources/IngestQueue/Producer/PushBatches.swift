// What waits to be pushed, as commands that are ready but for their beginning: no I/O and no clock.
//
// A batch is one write: an LPUSH for each list that it has entries for, nearly always just the one. An entry is encoded once, when it is
// submitted, straight into the buffer of the LPUSH that will carry it. That begins with the name of its key, which isn't known before
// a shard is chosen, and the number of its elements, which isn't before the batch is closed; so room is left in front, and the
// beginning is written so that it ends where the elements begin. One buffer, one write, nothing moved. A batch for several lists
// is put together by copying once. A batch that wasn't sent after all is given another beginning, and goes to another shard.
//
// What holds for one slow or huge payload: the bounds are on what has arrived whole, so a client that sends slowly holds nobody. An
// entry over the batch's bytes is huge: it goes alone, one at a time on a connection, and what is small doesn't line up
// behind it: small batches and huge entries go by turns. So at most one huge entry, and one small batch besides, is ahead of the next
// small batch on its connection, whatever is waiting; and nothing waits beyond its deadline. Rejected: a connection of its
// own for huge entries, which would be one more for each loop and shard; Redis itself takes commands one at a time anyway.

internal import Bytes
internal import DequeModule
internal import NIOCore

/// In front of a command's elements, for its beginning: two numbers, the name, and a key, none of which is longer than some 100 bytes.
private let room = 256

/// The entries of a batch that go to one list: one LPUSH, with an answer of its own.
struct PushPart<Waiter> {
  let list: Int
  /// One for each entry, in their order.
  fileprivate(set) var waiters: [Waiter] = []
  /// Of the elements, as they count against the bounds.
  fileprivate(set) var bytes = 0
  /// The room, then the elements.
  private var command: ByteBuffer

  /// - Parameter usual: Bytes of elements that there may be.
  fileprivate init(list: Int, firstSize size: Int, usual: Int) {
    self.list = list
    // So that a command rarely has to be moved while it grows.
    command = ByteBufferAllocator().buffer(capacity: room + max(size + 64, usual, min(16 * size, 64 << 10)))
    command.writeRepeatingByte(0, count: room)
  }

  fileprivate mutating func add(_ line: ByteBuffer, _ payload: ByteBuffer, size: Int, waiter: Waiter) {
    // `$`, the digits and two line ends beside it.
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

/// Entries that travel in one write.
struct PushBatch<Waiter> {
  /// One for each list, in the order of their first entries.
  fileprivate(set) var parts: [PushPart<Waiter>] = []
  /// The first entry's: what came later into the same batch has less time, so that no entry ever waits longer than it may.
  let deadline: NIODeadline
  /// Whether it is one entry over the bytes of a batch.
  let isHuge: Bool
  /// What that entry takes, where somebody keeps account of it.
  fileprivate(set) var huge: HugePayload?
  /// The hash of that entry's account.
  fileprivate(set) var hugeAccount: UInt64?
  fileprivate(set) var entries = 0
  fileprivate(set) var bytes = 0
  /// Bytes of its largest entry.
  fileprivate(set) var largest = 0
  /// How often it was handed out and came back because it couldn't be sent.
  fileprivate(set) var returns = 0
  /// How many bytes batches have had lately.
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
      // What goes to several lists is copied together anyway.
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
      // A third of the time that is left: two batches in flight wait one after the other, and a wait that outlived the deadline
      // would end the conversation.
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

/// A shard, as far as its commands depend on it.
struct PushDestination {
  /// Of the pending lists.
  let keys: [String]
  /// Replicas that have to confirm each batch: the last command then is a WAIT for them. nil where none has to.
  let confirmingReplicas: Int?

  /// How many replies answer a batch.
  func replies<Waiter>(to batch: PushBatch<Waiter>) -> Int {
    batch.parts.count + (confirmingReplicas == nil ? 0 : 1)
  }
}

struct PushBatches<Waiter>: ~Copyable {
  private let limits: ProducerLimits
  /// What takes entries now.
  private var gathering: PushBatch<Waiter>?
  /// Small batches that take no more, the oldest first.
  private var full: Deque<PushBatch<Waiter>> = []
  private var huge: Deque<PushBatch<Waiter>> = []
  private var hugeIsNext = false

  private(set) var waitingEntries = 0
  /// Waiting and in flight.
  private(set) var bytes = 0
  private(set) var inFlight = 0
  /// How many bytes of commands batches have had lately.
  private var usual = 0

  init(limits: ProducerLimits) { self.limits = limits }

  var isEmpty: Bool { waitingEntries == 0 && inFlight == 0 }

  /// Takes an entry.
  /// - Parameter line: What stands before the payload.
  /// - Throws: where it can't be taken; nothing was noted then.
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

  /// Keeps what the huge entry that was added last takes.
  /// - Parameter account: The hash of its account.
  mutating func keepAccount(_ payload: HugePayload, of account: UInt64) {
    huge[huge.endIndex - 1].huge = payload
    huge[huge.endIndex - 1].hugeAccount = account
  }

  enum Next {
    /// Send these commands, and say ``finished(_:)`` when their outcome is known, or ``putBack(_:)`` where they weren't sent.
    case send(PushBatch<Waiter>, commands: ByteBuffer)
    /// It waited until it was due; it wasn't sent. It counts no more.
    case late(PushBatch<Waiter>)
  }

  /// The batch that is to be dealt with now, if there is one.
  /// - Parameters:
  ///   - shard: Where it would go.
  ///   - isHugeWelcome: Whether it may be a huge entry.
  mutating func next(for shard: PushDestination, now: NIODeadline, huge isHugeWelcome: Bool) -> Next? {
    guard var batch = take(huge: isHugeWelcome) else { return nil }
    waitingEntries -= batch.entries
    if batch.deadline <= now {
      bytes -= batch.bytes
      return .late(batch)
    }
    inFlight += 1
    // Here, where nothing else holds the batch: written anywhere else, its buffer might have to be copied for it.
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
    // With the digits and line ends of each element. It follows what is more at once, and what is less by and by.
    let taken = batch.bytes + 32 * batch.entries
    usual = taken > usual ? taken : usual - (usual - taken) / 8
    return batch
  }

  /// Takes back what was handed out and couldn't be sent: it is the next of its kind.
  mutating func putBack(_ batch: PushBatch<Waiter>) {
    var batch = batch
    batch.returns += 1
    inFlight -= 1
    waitingEntries += batch.entries
    if batch.isHuge { huge.prepend(batch) } else { full.prepend(batch) }
  }

  /// Notes that the outcome of a batch is known.
  mutating func finished(_ batch: PushBatch<Waiter>) {
    inFlight -= 1
    bytes -= batch.bytes
  }

  /// All that waits. It counts no more.
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
