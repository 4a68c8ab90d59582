public import Hiredis

/// The fields of a section of INFO.
public struct InfoFields: Sendable {
  private var fields: [Substring: Substring] = [:]

  /// Nil if the reply isn't text.
  public init?(_ reply: RedisReply) {
    guard case .bulk(let bytes) = reply else { return nil }
    for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { fields[parts[0]] = parts[1] }
    }
  }

  public subscript(name: String) -> Substring? { fields[name[...]] }

  /// The replicas of `INFO replication`, each with its fields:
  /// `slave0:ip=127.0.0.1,port=6380,state=online,offset=1234,lag=0`. Nil if the reply doesn't have that section, or
  /// lacks a replica that it counts.
  public var replicas: [[Substring: Substring]]? {
    guard let count = self["connected_slaves"].flatMap({ Int($0) }), (0...1_000).contains(count) else { return nil }
    var replicas: [[Substring: Substring]] = []
    for number in 0..<count {
      guard let line = self["slave\(number)"] else { return nil }
      let pairs = line.split(separator: ",").map { $0.split(separator: "=", maxSplits: 1) }
      replicas.append(
        Dictionary(pairs.filter { $0.count == 2 }.map { ($0[0], $0[1]) }, uniquingKeysWith: { $1 }))
    }
    return replicas
  }
}
