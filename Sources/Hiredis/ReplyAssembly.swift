// hiredis's object functions: they build Swift values directly, and refuse replies beyond the limits.

internal import CHiredis

/// Collects the values that the reader parses. The reader walks a reply depth first and in order, so a stack of
/// unfinished arrays is sufficient.
///
/// A long array is assumed to contain only short strings until another element is found in it: see ``RedisStrings``.
///
/// This is a value behind a pointer that the reader owns. Rejected: an object. It would be retained and released for
/// each string of a reply, and each access to it would be checked.
struct ReplyAssembly {
  private struct Unfinished {
    var items: [RedisReply]
    var missing: Int
  }

  private let limits: ReplyLimits
  private var stack: [Unfinished] = []
  /// The strings of the innermost array while it contains only short strings, and the number of its missing elements,
  /// which is 0 for other arrays.
  private var strings = RedisStrings(reservingElements: 0)
  private var stringsMissing = 0
  private var finished: RedisReply?
  private var elements = 0
  private var bytes = 0
  /// Why an object function refused a value. hiredis itself reports only "out of memory" for that.
  private(set) var refusal: String?

  init(limits: ReplyLimits) { self.limits = limits }

  /// The elements and bytes of the reply so far.
  var size: (elements: Int, bytes: Int) { (elements, bytes) }

  mutating func take() -> RedisReply? {
    defer {
      finished = nil
      elements = 0
      bytes = 0
    }
    return finished
  }

  /// Minimum elements of an array for which ``RedisStrings`` is worthwhile.
  private static let leastStrings = 64
  /// Maximum bytes of a short string. A longer one is a separate object, which saves one copy.
  private static let longestString = 512

  mutating func beginArray(_ count: Int) -> Bool {
    // hiredis passes a C int that was converted from a long long. Not all versions check the range, so the value may be
    // negative.
    guard count >= 0, count <= limits.elements - elements else {
      refusal = "reply too large: \(elements) elements and an array of \(count), the limit is \(limits.elements) in all"
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
      // At most 4,096 elements are reserved, and not the announced length: only received elements cost memory.
      var items: [RedisReply] = []
      items.reserveCapacity(min(count, 4096))
      stack.append(Unfinished(items: items, missing: count))
    }
    return true
  }

  mutating func mayHold(_ count: Int, isLine: Bool) -> Bool {
    guard count <= limits.bytes - bytes else {
      refusal = "reply too large: \(bytes) bytes and a string of \(count) bytes, the limit is \(limits.bytes) in all"
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

  /// Continues with the innermost array as an ordinary one, because it has another element than a short string.
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

  /// hiredis expects an object for each value. The values are kept here, so hiredis gets a meaningless pointer that
  /// isn't null.
  private static var done: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: 1) }

  private static func of(_ task: UnsafePointer<redisReadTask>?) -> UnsafeMutablePointer<ReplyAssembly> {
    guard let data = task?.pointee.privdata else { fatalError("hiredis called an object function without our data") }
    return data.assumingMemoryBound(to: ReplyAssembly.self)
  }

  // Written once, before any reader exists. Afterwards hiredis only reads it, but the C signature requires a mutable
  // pointer.
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
