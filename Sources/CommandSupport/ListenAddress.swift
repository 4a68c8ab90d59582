// A listener's address. The host is always required: a bare port wouldn't show whether the whole world may connect.

/// `host:port`, `[::1]:port` for IPv6; port 0 lets the system choose one.
public struct ListenAddress: SettingValue, Equatable, CustomStringConvertible {
  /// A name or an address, without brackets.
  public let host: String
  /// 0 to 65,535.
  public let port: Int

  public static var expectation: String { "host:port such as 127.0.0.1:8080 or [::1]:8080" }

  public init(setting text: String) throws(InvalidSetting) {
    guard let colon = text.lastIndex(of: ":") else { throw InvalidSetting(expected: Self.expectation, came: text) }
    var host = text[..<colon]
    let digits = text[text.index(after: colon)...]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
      guard host.contains(":"), Self.isSound(host, extra: ":%") else {
        throw InvalidSetting(expected: Self.expectation, came: text)
      }
    } else {
      // A colon here would be an IPv6 address without brackets, whose last group would be read as the port.
      guard Self.isSound(host, extra: "") else { throw InvalidSetting(expected: Self.expectation, came: text) }
    }
    guard (1...5).contains(digits.count), digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(digits),
      port <= 65_535
    else { throw InvalidSetting(expected: Self.expectation, came: text) }
    self.host = String(host)
    self.port = port
  }

  private static func isSound(_ host: Substring, extra: String) -> Bool {
    (1...255).contains(host.count)
      && host.allSatisfy {
        $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "." || $0 == "-" || $0 == "_" || extra.contains($0))
      }
  }

  /// Whether only this machine can connect.
  public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
