// A server around the machine that is as simple as can be and answers at all the times that an application may: at the
// head, in the midst of the body, at the end, or when more has come behind it. It echoes each request's x-id.

import FramingOracle
import HTTPFraming

struct EchoServer {
  enum Moment: CaseIterable {
    case head
    case body
    case end
    case later
  }

  /// All that it wrote.
  private(set) var written: [UInt8] = []
  /// The ids of those that it answered, and whether their end had come.
  private(set) var answered: [(id: String, whole: Bool)] = []
  private(set) var refusal: ProtocolError?
  /// A violation of the state machine's rules.
  private(set) var misdeed: String?
  private(set) var isClosed = false

  private let echo = Response(status: 200)

  /// Serves one connection to its end.
  init(_ stream: [UInt8], limits: RequestLimits, using generator: inout some RandomNumberGenerator) {
    var connection = RequestConnection(limits: limits)
    var arrived = 0
    var consumed = 0
    var current: (number: RequestNumber, id: String, moment: Moment, whole: Bool)?
    var last: RequestNumber?
    var outputClosed = false
    let longestPiece = [1, 5, 50, 1000].randomElement(using: &generator)!

    func receive() -> Bool {
      guard arrived < stream.count else { return false }
      arrived += min(Int.random(in: 1...longestPiece, using: &generator), stream.count - arrived)
      return true
    }
    func answer() {
      guard let (number, id, _, whole) = current else { return }
      current = nil
      guard let framing = connection.answer(number) else {
        misdeed = "an answer is turned away"
        return
      }
      if connection.answer(number) != nil { misdeed = "a request can be answered twice" }
      if outputClosed { misdeed = "an answer comes after the output was closed" }
      answered.append((id, whole))
      var fields = ResponseFields()
      do throws(InvalidResponseField) { try fields.append("x-id", id) } catch { misdeed = "\(error)" }
      written += echo.bytes(framing, fields: fields, body: Array("echo \(id)".utf8))
      last = number
    }

    for _ in 0..<(20 * stream.count + 100) {
      if let last, connection.answer(last) != nil { misdeed = "a late answer is taken" }
      let bytes = stream.span.bytes.extracting(consumed..<arrived)
      let step = connection.next(bytes)
      let taken = stream[consumed..<consumed + step.length]
      consumed += step.length
      switch step.action {
      case .skip: break
      case .read: if !receive() { connection.inputEnded() }
      case .head(let number, _):
        let request = ReadRequest(connection.head, in: taken)
        let id = request.fields.first { String(decoding: $0.name, as: UTF8.self).lowercased() == "x-id" }
        current = (
          number, String(decoding: id?.value ?? [], as: UTF8.self), Moment.allCases.randomElement(using: &generator)!,
          false
        )
        if Int.random(in: 0..<3, using: &generator) > 0 { current?.moment = .end }
        if current?.moment == .head { answer() }
      case .writeContinue: written += Response.goOn
      case .body: if current?.moment == .body { answer() }
      case .end:
        current?.whole = true
        if current?.moment != .later { answer() }
      case .wait:
        if Bool.random(using: &generator) || !receive() { answer() }
      case .refuse(let refused, let framing):
        refusal = refused
        if let current, connection.answer(current.number) != nil { misdeed = "a refused request can be answered" }
        current = nil
        var fields = ResponseFields()
        do throws(InvalidResponseField) { try fields.append("x-id", "refused") } catch { misdeed = "\(error)" }
        written += Response(refused).bytes(framing, fields: fields)
      case .closeOutput: outputClosed = true
      case .close:
        isClosed = true
        return
      }
      if misdeed != nil { return }
    }
    misdeed = "it makes no progress"
  }
}
