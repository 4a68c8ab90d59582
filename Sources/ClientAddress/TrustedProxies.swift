// Whose word is taken about where a request comes from.
//
// A list that is gone through from its start: it has some blocks in most places and some hundred where a provider's own
// edges are listed, and a comparison is one AND and one XOR. A tree by prefixes would be another structure to get wrong.

internal import Bytes

/// The proxies that are believed: blocks of addresses.
public struct TrustedProxies: Sendable, Hashable {
  public let blocks: [AddressBlock]

  /// Nobody: each request comes from whoever holds its connection.
  public static let none = TrustedProxies(blocks: [])

  /// How many blocks a list may have.
  public static let maximumCount = 512

  private init(blocks: [AddressBlock]) { self.blocks = blocks }

  /// Reads blocks that commas separate: `10.0.0.0/8, ::1`. Blanks may stand around each.
  /// - Throws: ``InvalidAddress`` for the first that isn't a block, and where there is none (that is ``none``, and no
  ///   list) or more than ``maximumCount``.
  public init(_ text: String) throws(InvalidAddress) {
    let bytes = Array(text.utf8)
    let span = bytes.span.bytes
    let elements = bytes.split(separator: .comma, omittingEmptySubsequences: false).map { span.trimmed($0.indices) }
    guard elements.count <= Self.maximumCount else {
      throw InvalidAddress("expected at most \(Self.maximumCount) blocks, got \(elements.count)")
    }
    var blocks: [AddressBlock] = []
    for element in elements { blocks.append(try AddressBlock(span, element)) }
    self.init(blocks: blocks)
  }

  /// Whether this address is a proxy's that is believed.
  public func contains(_ address: IPAddress) -> Bool { blocks.contains { $0.contains(address) } }
}

extension TrustedProxies: CustomStringConvertible {
  /// The blocks, with commas between them; empty for ``none``.
  public var description: String { blocks.map(\.description).joined(separator: ", ") }
}
