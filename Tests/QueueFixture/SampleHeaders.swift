public import IngestQueue

extension EnvelopeHeader {
  /// Nothing special in any field; always the same id.
  public static let plain = numbered(0)

  /// The same number gives the same header.
  public static func numbered(_ number: Int) -> EnvelopeHeader {
    EnvelopeHeader(
      id: EnvelopeID(keyID: "test".utf8, idempotencyKey: "\(number)".utf8), account: "acme",
      key: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
      receivedAt: 1_790_000_000_000 + Int64(number), contentType: "application/json", path: "/1/batch", node: "node-1")
  }

  /// What it was made from by ``numbered(_:)``.
  public var number: Int { Int(receivedAt - EnvelopeHeader.plain.receivedAt) }
}
