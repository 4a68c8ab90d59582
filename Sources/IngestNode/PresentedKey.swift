// Where a push may carry its key. A request may have it in several places; the first in this order counts, so that a
// proxy that adds a header doesn't change what a client meant by its own.

internal import NIOHTTP1

enum PresentedKey {
  /// The longest key that is looked at; a longer one can't be in any store.
  private static let limit = 512

  /// `Authorization: Bearer KEY`, then `X-API-Key: KEY`, then `?api_key=KEY`.
  static func find(headers: HTTPHeaders, query: Substring?) -> [UInt8]? {
    if let authorization = headers.first(name: "authorization") {
      let parts = authorization.split(separator: " ", maxSplits: 1)
      if parts.count == 2, parts[0].lowercased() == "bearer" { return usable(parts[1].utf8) }
    }
    if let header = headers.first(name: "x-api-key") { return usable(header.utf8) }
    guard let query else { return nil }
    for pair in query.split(separator: "&") where pair.hasPrefix("api_key=") {
      return usable(percentDecoded(pair.dropFirst("api_key=".count)))
    }
    return nil
  }

  private static func usable(_ bytes: some Collection<UInt8>) -> [UInt8]? {
    let trimmed = Array(bytes).trimmingSpaces
    return trimmed.isEmpty || trimmed.count > limit ? nil : trimmed
  }

  /// What isn't valid percent-encoding stays as it is: it is somebody's key, and it is looked up, not interpreted.
  private static func percentDecoded(_ text: Substring) -> [UInt8] {
    var decoded: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2,
        let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
      {
        decoded.append(value)
        rest = rest.dropFirst(2)
      } else {
        decoded.append(byte)
      }
    }
    return decoded
  }
}

extension [UInt8] {
  fileprivate var trimmingSpaces: [UInt8] {
    Array(drop { $0 == 0x20 || $0 == 0x09 }.reversed().drop { $0 == 0x20 || $0 == 0x09 }.reversed())
  }
}
