// An answer as a client reads it: strictly, and only what this node may write. `AnswerStreamTests` have an independent
// parser read whole streams; this one is for tests that look at one or two answers.

import Foundation
import HTTPFraming
import NIOCore

@testable import IngestNode

struct ReadAnswer {
  struct Unreadable: Error, CustomStringConvertible {
    let description: String
  }

  var status: Int
  var fields: [(name: String, value: String)]
  var body: [UInt8]

  /// The value of a field that comes once; nil if it doesn't come.
  subscript(name: String) -> String? {
    let found = fields.filter { $0.name == name }
    return found.count == 1 ? found[0].value : nil
  }

  var text: String { String(decoding: body, as: UTF8.self) }
  /// Whether it is the connection's last and says so.
  var closes: Bool { self["connection"] == "close" }
  /// The body as JSON.
  func json() throws -> [String: Any] {
    guard let object = try JSONSerialization.jsonObject(with: Data(body)) as? [String: Any] else {
      throw Unreadable(description: "no JSON object: \(text)")
    }
    return object
  }

  /// Reads all the answers in a stream, which must end with one.
  /// - Parameter heads: Which of them, from 0, are to HEAD.
  static func all(in stream: [UInt8], heads: Set<Int> = []) throws(Unreadable) -> [ReadAnswer] {
    var answers: [ReadAnswer] = []
    var rest = stream[...]
    while !rest.isEmpty {
      guard let end = rest.firstRange(of: Array("\r\n\r\n".utf8)) else {
        throw Unreadable(description: "no head: \(String(decoding: rest.prefix(200), as: UTF8.self).debugDescription)")
      }
      var lines = String(decoding: rest[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
      let words = lines.removeFirst().split(separator: " ", maxSplits: 2).map(String.init)
      guard words.count > 1, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
        throw Unreadable(description: "no status line: \(words)")
      }
      rest = rest[end.upperBound...]
      let fields = lines.map { line -> (name: String, value: String) in
        let parts = line.components(separatedBy: ": ")
        return (parts[0], parts.dropFirst().joined(separator: ": "))
      }
      var answer = ReadAnswer(status: status, fields: fields, body: [])
      if status != 100 {
        guard let length = answer["content-length"].flatMap({ Int($0) }) else {
          throw Unreadable(description: "no length: \(lines)")
        }
        if !heads.contains(answers.count) {
          guard rest.count >= length else { throw Unreadable(description: "the body is shorter than announced") }
          answer.body = Array(rest.prefix(length))
          rest = rest.dropFirst(length)
        }
      }
      answers.append(answer)
    }
    return answers
  }
}

extension ReadAnswer {
  /// An answer as a client would read it.
  init(_ reply: Reply) throws {
    var buffer = ByteBuffer()
    reply.write(.last, to: &buffer)
    let answers = try ReadAnswer.all(in: Array(buffer.readableBytesView))
    guard answers.count == 1 else { throw Unreadable(description: "\(answers.count) answers") }
    self = answers[0]
  }

  /// A laid-out answer as a client would read it.
  init(_ response: Response) throws { try self.init(Reply(template: response)) }
}
