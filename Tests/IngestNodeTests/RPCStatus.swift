// A second decoder of google.rpc.Status, as in OpenTelemetry's clients: two fields of protobuf.

/// A `google.rpc.Status`, read by hand: field 1 is a varint, field 2 a string.
struct RPCStatus: Equatable {
  var code = 0
  var message = ""

  init(code: Int, message: String) {
    self.code = code
    self.message = message
  }

  init(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    func varint() throws -> Int {
      var value = 0
      var shift = 0
      while let byte = rest.popFirst() {
        value |= Int(byte & 0x7F) << shift
        shift += 7
        if byte < 0x80 { return value }
      }
      throw ReadAnswer.Unreadable(description: "a varint has no end")
    }
    while !rest.isEmpty {
      switch try varint() {
      case 1 << 3: code = try varint()
      case 2 << 3 | 2:
        let length = try varint()
        guard length <= rest.count else { throw ReadAnswer.Unreadable(description: "a string has no end") }
        guard let text = String(validating: rest.prefix(length), as: UTF8.self) else {
          throw ReadAnswer.Unreadable(description: "a string isn't UTF-8")
        }
        message = text
        rest = rest.dropFirst(length)
      case let tag: throw ReadAnswer.Unreadable(description: "tag \(tag)")
      }
    }
  }
}
