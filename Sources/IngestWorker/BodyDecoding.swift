// From the bytes that a client sent to the bytes that are stored.
//
// Labels lie: agents send zlib labelled gzip, plain text labelled gzip, and compressed bodies with an empty label. So the first
// bytes say what a body is, and the label only decides what a failure means. What isn't understood is stored byte for
// byte; a dead letter comes about only where the client itself says that the body is compressed, the body looks like it, and yet
// it can't be undone: then somebody expects the contents, and storing the broken stream as if it were they would hide it.
//
//   first bytes    | Content-Encoding            | inflates to its end | outcome
//   gzip or zlib   | gzip, x-gzip, deflate, zlib | yes                 | decoded
//   gzip or zlib   | gzip, x-gzip, deflate, zlib | no, or too large    | dead letter, with the reason
//   gzip or zlib   | none, empty, identity, other| yes                 | decoded, unless the Content-Type says that the payload
//                  |                             |                     | *is* a compressed file: then as it is
//   gzip or zlib   | none, empty, identity, other| no, or too large    | as it is: a binary payload that happens to begin so
//   anything else  | any                         | –                   | as it is (zstd and br too: nothing is lost by it)
//
// "To its end": the checksum is right, nothing is cut off, and nothing follows but another gzip member. Raw deflate without zlib's
// header has no first bytes to know it by and is stored as it is.

public import IngestQueue

/// What a payload is stored as.
public struct DecodedBody: Sendable, Equatable {
  /// What the client meant, as far as it could be told.
  public var bytes: ArraySlice<UInt8>
  /// What was undone: `gzip` or `zlib`; nil where the bytes are those that were sent.
  public var undone: String?
}

/// The client says that its body is compressed, it looks like it, and it can't be undone.
public struct UndecodableBody: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

/// Undoes compression by what the bytes say.
public struct BodyDecoding: Sendable {
  /// The most bytes that a body may have once it is decoded.
  public let limit: Int

  public init(limit: Int = 64 << 20) { self.limit = limit }

  public func decode(_ envelope: Envelope) throws(UndecodableBody) -> DecodedBody {
    let asItIs = DecodedBody(bytes: envelope.payload, undone: nil)
    guard let format = Inflation.format(of: envelope.payload) else { return asItIs }
    let isLabelled = Self.saysCompressed(envelope.header.contentEncoding)
    if !isLabelled && Self.isCompressedFile(envelope.header.contentType) { return asItIs }
    do throws(Inflation.Failure) {
      let bytes = try Inflation.inflate(envelope.payload, as: format, limit: limit)
      return DecodedBody(bytes: bytes[...], undone: format.rawValue)
    } catch {
      guard isLabelled else { return asItIs }
      let label = envelope.header.contentEncoding ?? ""
      throw UndecodableBody(
        description: "the body is labelled \(label) and begins like \(format.rawValue), but \(error)")
    }
  }

  private static func saysCompressed(_ label: String?) -> Bool {
    // A list where several were applied, the last one last; that one is the outermost.
    let last = (label ?? "").split(separator: ",").last ?? ""
    return ["gzip", "x-gzip", "deflate", "zlib"].contains(last.trimmed.lowercased())
  }

  private static func isCompressedFile(_ type: String?) -> Bool {
    let essence = (type ?? "").split(separator: ";").first ?? ""
    return ["application/gzip", "application/x-gzip", "application/zlib"].contains(essence.trimmed.lowercased())
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var rest = self.drop { $0 == " " || $0 == "\t" }
    while rest.last == " " || rest.last == "\t" { rest.removeLast() }
    return rest
  }
}
