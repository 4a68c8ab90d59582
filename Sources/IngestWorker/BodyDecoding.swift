// From the bytes that a client sent to the bytes that are stored.
//
// Labels are often wrong: agents send zlib labelled gzip, plain text labelled gzip, and compressed bodies with an empty
// label. So the first bytes decide the format, and the label only decides what a failure means. A body that isn't
// understood is stored byte for byte. A body becomes a dead letter only if the client itself says that it is
// compressed, its first bytes agree, and yet it can't be decoded: then the client expects the decoded content to be
// stored, and storing the broken stream instead would hide the error.
//
//   first bytes         | Content-Encoding | decodes to its end | outcome
//   gzip, zlib or zstd  | a format's name  | yes                | decoded
//   gzip, zlib or zstd  | a format's name  | no, or too much    | dead letter, with the reason
//   gzip, zlib or zstd  | anything else    | yes                | decoded; unchanged if the Content-Type says that
//                       |                  |                    | the payload *is* a compressed file
//   gzip, zlib or zstd  | anything else    | no, or too much    | unchanged: a binary payload that happens to begin so
//   anything            | br               | yes, as brotli     | decoded, if it wasn't by its first bytes
//   text (UTF-8)        | br               | no, or too much    | unchanged: brotli has no first bytes, but isn't text
//   anything else       | br               | no, or too much    | dead letter, with the reason
//   anything else       | any              | –                  | unchanged
//
// A format's name is one of gzip, x-gzip, deflate, zlib, zstd, br; it need not be the name of the format that the body
// has. "Anything else" may be no label, an empty one, identity, or an unknown name.
//
// "To its end": the checksums are right, nothing is cut off, and nothing follows but another gzip member or zstd frame.
// "Too much": more bytes than the limit, or a higher compression ratio than allowed. Raw deflate without zlib's header
// has no recognisable first bytes and is stored unchanged; so is a body that consists only of skippable zstd frames.

import BodyCoding
public import IngestQueue

/// A payload's body as it is stored.
public struct DecodedBody: Sendable, Equatable {
  /// The body after decoding, or the unchanged body.
  public var bytes: ArraySlice<UInt8>
  /// The compression that was removed: `gzip`, `zlib`, `zstd` or `br`; nil if the bytes are unchanged.
  public var undone: String?
}

/// The client says that its body is compressed, the bytes don't contradict that, and the body can't be decompressed.
public struct UndecodableBody: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String
}

/// Decompresses a body according to its bytes.
public struct BodyDecoding: Sendable {
  private let bounds: DecodedBounds

  /// - Parameters:
  ///   - limit: Maximum decompressed bytes of a body.
  ///   - ratio: Maximum compression ratio. Decompressing up to a MiB is always allowed.
  public init(limit: Int = 64 << 20, ratio: Int = 200) { bounds = DecodedBounds(bytes: limit, ratio: ratio) }

  /// Maximum bytes that decoding adds to the memory in use: 0 for a body that isn't decoded.
  func mostBytes(of envelope: Envelope) -> Int {
    let mayBeDecoded =
      CompressionFormat(firstBytesOf: envelope.payload.span.bytes) != nil
      || Self.outermost(envelope.header.contentEncoding) == CompressionFormat.brotli.rawValue
    return mayBeDecoded ? bounds.bytes(from: envelope.payload.count) : 0
  }

  public func decode(_ envelope: Envelope) throws(UndecodableBody) -> DecodedBody {
    let body = envelope.payload
    let asItIs = DecodedBody(bytes: body, undone: nil)
    let label = Self.outermost(envelope.header.contentEncoding)
    let isLabelled = Self.formatNames.contains(label)
    var reasons: [String] = []
    if let format = CompressionFormat(firstBytesOf: body.span.bytes) {
      if !isLabelled && Self.isCompressedFile(envelope.header.contentType) { return asItIs }
      switch attempt(body, as: format) {
      case .success(let decoded): return decoded
      case .failure(let why): reasons.append("as \(format.rawValue): \(why)")
      }
    }
    if label == CompressionFormat.brotli.rawValue {
      switch attempt(body, as: .brotli) {
      case .success(let decoded): return decoded
      case .failure(let why):
        if Self.isText(body) { return asItIs }
        reasons.append("as brotli: \(why)")
      }
    }
    guard isLabelled && !reasons.isEmpty else { return asItIs }
    throw UndecodableBody(
      description: "Content-Encoding is \(label), but decoding failed (\(reasons.joined(separator: "; ")))")
  }

  private func attempt(
    _ body: ArraySlice<UInt8>, as format: CompressionFormat
  ) -> Result<DecodedBody, Decompression.Failure> {
    do throws(Decompression.Failure) {
      let bytes = try Decompression.decode(body.span.bytes, as: format, within: bounds)
      return .success(DecodedBody(bytes: bytes[...], undone: format.rawValue))
    } catch {
      return .failure(error)
    }
  }

  private static let formatNames: Set<String> = ["gzip", "x-gzip", "deflate", "zlib", "zstd", "br"]

  /// The last encoding in the label, which is the outermost one if several were applied.
  private static func outermost(_ label: String?) -> String {
    ((label ?? "").split(separator: ",").last ?? "").trimmed.lowercased()
  }

  private static func isText(_ body: ArraySlice<UInt8>) -> Bool {
    String(validating: body, as: UTF8.self) != nil
  }

  private static func isCompressedFile(_ type: String?) -> Bool {
    let essence = (type ?? "").split(separator: ";").first ?? ""
    let types = ["application/gzip", "application/x-gzip", "application/zlib", "application/zstd"]
    return types.contains(essence.trimmed.lowercased())
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var rest = self.drop { $0 == " " || $0 == "\t" }
    while rest.last == " " || rest.last == "\t" { rest.removeLast() }
    return rest
  }
}
