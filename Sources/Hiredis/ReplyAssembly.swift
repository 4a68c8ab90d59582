// What hiredis's object functions do: they build Swift values at once, and refuse what is beyond the limits.

internal import CHiredis

/// Where the object functions put what the reader finds. The reader walks a reply depth first and in order, so a stack of
/// unfinished arrays is all that is needed.
///
/// A long array is taken for one of short strings until something else comes in it: see ``RedisStrings``.
///
/// A value behind a pointer that the reader owns, not an object: for each string of a reply one would be retained and released, and
/// each access to it checked.
struct ReplyAssembly {
  private struct Unfinished {
    var items: [RedisReply]
    var missing: Int
  }

  private let limits: ReplyLimits
  private var stack: [Unfinished] = []
  /// Of the innermost array, while all that came in it are short strings, and how many of its elements are missing; 0 where it isn't such.
  private var strings = RedisStrings(reservingElements: 0)
  private var stringsMissing = 0
  private var finished: RedisReply?
  private var elements = 0
  private var bytes = 0
  /// Why an object function refused; hiredis knows only "out of memory" for it.
  private(set) var refusal: String?

  init(limits: ReplyLimits) { self.limits = limits }

  /// Of the reply so far.
  var size: (elements: Int, bytes: Int) { (elements, bytes) }

  mutating func take() -> RedisReply? {
    defer {
      finished = nil
      elements = 0
      bytes = 0
    }
    return finished
  }

  /// From so many elements on it is worth it.
  private static let leastStrings = 64
  /// Longer strings are copied once less as objects of their own.
  private static let longestString = 512

  mutating func beginArray(_ count: Int) -> Bool {
    // hiredis hands over a C int of what was a long long: where it doesn't check that it fits, it may come out negative.
    guard count >= 0, count <= limits.elements - elements else {
      refusal = "an array of \(count) after \(elements) elements, the limit is \(limits.elements)"
      return false
    }
    elements += count
    if stringsMissing > 0 { separateStrings() }
    if count == 0 {
      add(.array([]))
    } else if count >= Self.leastStrings {
      strings = RedisStrings(reservingElements: min(count, 4096))
      stringsMissing = count
    } else {
      // Not reserved for all that is announced: only what arrives costs memory.
      var items: [RedisReply] = []
      items.reserveCapacity(min(count, 4096))
      stack.append(Unfinished(items: items, missing: count))
    }
    return true
  }

  mutating func mayHold(_ count: Int, isLine: Bool) -> Bool {
    guard count <= limits.bytes - bytes else {
      refusal = "a string of \(count) bytes after \(bytes) bytes, the limit is \(limits.bytes)"
      return false
    }
    guard !isLine || count <= ReplyReader.longestLine else {
      refusal = "a line of \(count) bytes, the limit is \(ReplyReader.longestLine)"
      return false
    }
    bytes += count
    return true
  }

  mutating func addString(_ raw: UnsafeRawBufferPointer) {
    guard stringsMissing > 0, raw.count <= Self.longestString else { return add(.bulk([UInt8](raw))) }
    strings.append(raw)
    stringsMissing -= 1
    guard stringsMissing == 0 else { return }
    let all = strings
    strings = RedisStrings(reservingElements: 0)
    add(.strings(all))
  }

  /// Goes on with the innermost array as with any other.
  private mutating func separateStrings() {
    var items = strings.replies
    items.reserveCapacity(min(items.count + stringsMissing, 4096))
    stack.append(Unfinished(items: items, missing: stringsMissing))
    strings = RedisStrings(reservingElements: 0)
    stringsMissing = 0
  }

  mutating func add(_ reply: RedisReply) {
    if stringsMissing > 0 { separateStrings() }
    var reply = reply
    while !stack.isEmpty {
      let top = stack.count - 1
      stack[top].items.append(reply)
      stack[top].missing -= 1
      if stack[top].missing > 0 { return }
      reply = .array(stack.removeLast().items)
    }
    finished = reply
  }

  /// hiredis wants an object for everything; ours are kept here, so any pointer that isn't null will do.
  private static var done: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

  private static func of(_ task: UnsafePointer<redisReadTask>?) -> UnsafeMutablePointer<ReplyAssembly> {
    guard let data = task?.pointee.privdata else { fatalError("hiredis called an object function without our data") }
    return data.assumingMemoryBound(to: ReplyAssembly.self)
  }

  // Written once, before any reader exists, and only read by hiredis afterwards; the C signature asks for a mutable pointer.
  nonisolated(unsafe) static let functions: UnsafeMutablePointer<redisReplyObjectFunctions> = {
    let functions = UnsafeMutablePointer<redisReplyObjectFunctions>.allocate(capacity: 1)
    functions.initialize(
      to: redisReplyObjectFunctions(
        createString: { task, text, length in
          let assembly = ReplyAssembly.of(task)
          let type = task?.pointee.type
          guard assembly.pointee.mayHold(length, isLine: type != REDIS_REPLY_STRING) else { return nil }
          let raw = UnsafeRawBufferPointer(start: text, count: length)
          switch type {
          case REDIS_REPLY_STATUS: assembly.pointee.add(.status(String(decoding: raw, as: UTF8.self)))
          case REDIS_REPLY_ERROR:
            assembly.pointee.add(.error(RedisServerError(message: String(decoding: raw, as: UTF8.self))))
          default: assembly.pointee.addString(raw)
          }
          return ReplyAssembly.done
        },
        createArray: { task, count in
          ReplyAssembly.of(task).pointee.beginArray(Int(count)) ? ReplyAssembly.done : nil
        },
        createInteger: { task, number in
          ReplyAssembly.of(task).pointee.add(.integer(number))
          return ReplyAssembly.done
        },
        createNil: { task in
          ReplyAssembly.of(task).pointee.add(.null)
          return ReplyAssembly.done
        },
        freeObject: { _ in }))
    return functions
  }()
}
