// The proxies trusted to set the client address.
//
// The list is searched from its start. Most lists have a few blocks, or some hundred if a provider's own edges are
// listed, and a comparison is one AND and one XOR. Rejected: a tree of prefixes, which is more complicated.

internal import Bytes

/// The trusted proxies: blocks of addresses.
public struct TrustedProxies: Sendable, Hashable {
  public let blocks: [AddressBlock]

  /// No proxy: the client of each request is its connection's peer.
  public static let none = TrustedProxies(blocks: [])

  /// Maximum blocks of a list.
  public static let maximumCount = 512

  private init(blocks: [AddressBlock]) { self.blocks = blocks }

  /// Reads blocks separated by commas: `10.0.0.0/8, ::1`. Blanks around each are allowed.
  /// - Throws: ``InvalidAddress`` for the first element that isn't a block, for a text without elements (use ``none``),
  ///   and for more than ``maximumCount`` blocks.
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

  /// Whether this address belongs to a trusted proxy.
  public func contains(_ address: IPAddress) -> Bool { blocks.contains { $0.contains(address) } }
}

extension TrustedProxies: CustomStringConvertible {
  /// The blocks, with commas between them; empty for ``none``.
  public var description: String { blocks.map(\.description).joined(separator: ", ") }
}
