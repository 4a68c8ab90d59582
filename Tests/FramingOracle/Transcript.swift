// What the machine says to a stream of bytes, with a server around it that is as simple as can be: it answers each
// request at its end, or some already at their head. Parts of a body that only the cutting of the stream has separated
// are joined, so that two transcripts of one stream are equal however it was cut.

public import HTTPFraming
internal import InputBuffer
internal import NIOCore

/// A request as text and bytes.
public struct ReadRequest: Equatable, Sendable {
  public struct Field: Equatable, Sendable {
    public let name: [UInt8]
    public let value: [UInt8]
  }

  public var method: [UInt8]
  public var target: [UInt8]
  public var path: [UInt8] = []
  public var query: [UInt8]?
  public var version: RequestHead.Version
  public var fields: [Field]
  public var body: [UInt8] = []
  /// Whether its end has come.
  public var isWhole = false
  /// What frames the body: chunk lines, trailers.
  public var framing: [UInt8] = []
}

public struct Transcript: Equatable, Sendable {
  public enum Event: Equatable, Sendable {
    case head(RequestNumber, BodyKind)
    case goOn
    case body(count: Int)
    case end
    case answered(ResponseFraming)
    case refused(ProtocolError, ResponseFraming)
    case outputClosed
    case closed
  }

  public private(set) var events: [Event] = []
  public private(set) var requests: [ReadRequest] = []
  public private(set) var phase = ConnectionPhase.idle
  /// A violation of the state machine's rules.
  public private(set) var misdeed: String?

  public var refusal: ProtocolError? {
    for case .refused(let refusal, _) in events { return refusal }
    return nil
  }

  public var isClosed: Bool { events.last == .closed }

  /// Reads a stream.
  /// - Parameters:
  ///   - sizes: Of the pieces that it comes in, over and over.
  ///   - ends: Whether the client closes its side behind it.
  ///   - early: Which requests are answered at their head, by their index from 0.
  public init(
    of stream: [UInt8], inPiecesOf sizes: [Int] = [Int.max], limits: RequestLimits = RequestLimits(),
    ends: Bool = false,
    early: (Int) -> Bool = { _ in false }
  ) {
    var connection = RequestConnection(limits: limits)
    // As the node keeps what has come: its memory must follow what is unread, and not what has ever come.
    var input = InputBuffer()
    var mostUnread = 0
    var largestPiece = 0
    var arrived = 0
    var consumed = 0
    var turn = 0
    var hasEnded = false
    var current: RequestNumber?
    // Each step consumes something or says something; a machine that goes round in a circle is found out here.
    var stepsLeft = 16 * stream.count + 64
    loop: while true {
      stepsLeft -= 1
      guard stepsLeft > 0 else {
        misdeed = "it makes no progress"
        break
      }
      let unread = input.bytes
      let step = connection.next(unread.readableBytesSpan)
      guard step.length <= unread.readableBytes else {
        misdeed = "it consumes more than it was given"
        break
      }
      let range = consumed..<consumed + step.length
      consumed = range.upperBound
      input.consume(step.length)
      switch step.action {
      case .skip:
        if step.length == 0 { misdeed = "it skips nothing" }
        if current != nil, connection.phase == .body || connection.phase == .answering {
          requests[requests.count - 1].framing += stream[range]
        }
      case .read:
        if step.length != 0 { misdeed = "it consumes while it waits" }
        if arrived < stream.count {
          let piece = ByteBuffer(
            bytes: stream[arrived..<arrived + min(sizes[turn % sizes.count], stream.count - arrived)])
          arrived += piece.readableBytes
          turn += 1
          input.append(piece)
          mostUnread = max(mostUnread, input.count)
          largestPiece = max(largestPiece, piece.storageCapacity)
          if input.capacity > max(2 * mostUnread, largestPiece) {
            misdeed = "\(input.capacity) bytes of memory are held for at most \(mostUnread) unread ones"
          }
        } else if ends, !hasEnded {
          connection.inputEnded()
          hasEnded = true
        } else {
          break loop
        }
      case .head(let number, let body):
        if current != nil { misdeed = "a request begins before the last one was answered" }
        events.append(.head(number, body))
        requests.append(ReadRequest(connection.head, in: stream[range]))
        current = number
        if early(requests.count - 1) {
          if let framing = connection.answer(number) {
            events.append(.answered(framing))
          } else {
            misdeed = "no answer"
          }
          current = nil
        }
      case .writeContinue: events.append(.goOn)
      case .body:
        if step.length == 0 { misdeed = "a part of a body is empty" }
        requests[requests.count - 1].body += stream[range]
        if case .body(let count) = events.last {
          events[events.count - 1] = .body(count: count + step.length)
        } else {
          events.append(.body(count: step.length))
        }
      case .end:
        events.append(.end)
        requests[requests.count - 1].isWhole = true
        guard let number = current, let framing = connection.answer(number) else {
          misdeed = "a request ends that can't be answered"
          break
        }
        if connection.answer(number) != nil { misdeed = "a request can be answered twice" }
        events.append(.answered(framing))
        current = nil
      case .wait: misdeed = "it waits for an answer that was given"
      case .refuse(let refusal, let framing):
        events.append(.refused(refusal, framing))
        if let number = current, connection.answer(number) != nil { misdeed = "a refused request can be answered" }
        // How much of a faulty chunk line was consumed before the fault came depends on the pieces, and matters to
        // nobody.
        if current != nil { requests[requests.count - 1].framing = [] }
        current = nil
      case .closeOutput: events.append(.outputClosed)
      case .close:
        events.append(.closed)
        break loop
      }
      if misdeed != nil { break }
    }
    phase = connection.phase
  }
}

extension ReadRequest {
  /// The head of a request, from the bytes that it was read from.
  public init(_ head: borrowing RequestHead, in bytes: ArraySlice<UInt8>) {
    func part(_ range: Range<Int>) -> [UInt8] {
      Array(bytes[bytes.startIndex + range.lowerBound..<bytes.startIndex + range.upperBound])
    }
    method = part(head.methodName)
    target = part(head.target)
    path = part(head.path)
    query = head.query.map(part)
    version = head.version
    fields = (0..<head.fieldCount).map {
      Field(name: part(head.fieldName(at: $0)), value: part(head.fieldValue(at: $0)))
    }
  }
}
