// Sentinels and cluster nodes announce servers by their internal addresses. Behind NAT, or from outside of a container
// network, such an address is unreachable or belongs to another host. Only an operator knows the reachable address.

/// The reachable addresses of servers that announce unreachable ones.
public struct AddressMap: Sendable, Equatable {
  /// Addresses with a port. They are looked up before whole hosts.
  private var servers: [RedisHost: RedisHost] = [:]
  /// Hosts with the same ports on both sides.
  private var hosts: [String: String] = [:]

  /// For servers whose announced addresses are reachable.
  public static let none = AddressMap()

  private init() {}

  /// - Parameter text: Pairs separated by commas: `10.0.0.5:6379=203.0.113.7:7001`, or `10.0.0.5=203.0.113.7` for all
  ///   ports of a host.
  /// - Throws: ``InvalidAddressMap``.
  public init(_ text: String) throws(InvalidAddressMap) {
    for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
      let sides = pair.split(separator: "=", omittingEmptySubsequences: false)
      guard sides.count == 2 else {
        throw InvalidAddressMap("expected announced=reachable, got \"\(pair.prefix(100))\"")
      }
      let announced = try Self.side(sides[0])
      let reachable = try Self.side(sides[1])
      let isNew: Bool
      switch (announced.port, reachable.port) {
      case (let from?, let to?):
        isNew =
          servers.updateValue(RedisHost(reachable.name, port: to), forKey: RedisHost(announced.name, port: from)) == nil
      case (nil, nil): isNew = hosts.updateValue(reachable.name, forKey: announced.name) == nil
      default:
        throw InvalidAddressMap(
          "expected a port on both sides of =, or on neither, got \"\(pair.prefix(100))\"")
      }
      guard isNew else {
        throw InvalidAddressMap("expected each announced address once, but \(sides[0].prefix(100)) is given twice")
      }
    }
  }

  private static func side(_ text: Substring) throws(InvalidAddressMap) -> (name: String, port: Int?) {
    do { return try RedisHost.parts(of: text) } catch { throw InvalidAddressMap(error.expectation) }
  }

  /// The reachable address of a server with this announced address.
  subscript(announced: RedisHost) -> RedisHost {
    servers[announced] ?? hosts[announced.name].map { RedisHost($0, port: announced.port) } ?? announced
  }
}

/// A text isn't an ``AddressMap``.
public struct InvalidAddressMap: Error, Sendable, Equatable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}
