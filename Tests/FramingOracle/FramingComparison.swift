// Whether the machine and NIO's decoder see the same requests in a stream. What the machine takes, NIO must take too,
// and frame the same way: method, target, header, body, and where the next request begins. The machine may refuse more.
//
// Where it takes more than NIO is a closed list, and each entry is recognised by what the request says, not by how NIO
// fails.

import HTTPFraming

/// Why NIO may refuse or see otherwise what the machine takes.
public enum KnownDifference: String, CaseIterable, Sendable {
  /// llhttp has a list of methods. RFC 9110 §9.1: any token may be a method, and a server that doesn't know it answers
  /// 501.
  case unlistedMethod
  /// `Connection: upgrade` with `Upgrade` ends NIO's reading, since what follows may be another protocol. RFC 9110
  /// §7.8: a server may ignore it, and then the connection stays HTTP.
  case upgrade
  /// Blanks around the parts of a chunk extension, which RFC 9112 §7.1.1 says must be borne.
  case blankInChunkExtension
}

public enum FramingComparison {
  case same
  case known(KnownDifference)
  case different(String)

  public init(_ ours: Transcript, _ theirs: NIOReading) {
    self = Self.compare(ours, theirs)
  }

  private static func compare(_ ours: Transcript, _ theirs: NIOReading) -> Self {
    for (index, request) in ours.requests.enumerated() {
      let isLast = index == ours.requests.count - 1
      guard index < theirs.requests.count else {
        if !request.isListedMethod { return .known(.unlistedMethod) }
        return .different("request \(index) is not seen by NIO: \(theirs.failure ?? "it waits for more")")
      }
      let other = theirs.requests[index]
      guard request.method == other.method else { return .different("the method of request \(index)") }
      guard request.target.asText == other.target else { return .different("the target of request \(index)") }
      guard request.version == other.version else { return .different("the version of request \(index)") }
      guard request.fields.map(\.asText) == other.fields else { return .different("the header of request \(index)") }
      if isLast, ours.refusal != nil, !request.isWhole {
        // Refused in mid-body: until there it must be the same body.
        guard other.body.starts(with: request.body) || request.body.starts(with: other.body) && theirs.failure != nil
        else { return .different("the body of request \(index), which is refused") }
        return .same
      }
      if request.body != other.body || request.isWhole != other.isWhole {
        if request.hasBlankInExtension { return .known(.blankInChunkExtension) }
        return .different("the body of request \(index): \(theirs.failure ?? "NIO has no objection")")
      }
      if request.asksForUpgrade { return .known(.upgrade) }
    }
    // While the machine waits for more bytes, NIO must not have reported a request already.
    if ours.refusal == nil, !ours.isClosed, !ours.events.contains(.outputClosed),
      theirs.requests.count > ours.requests.count
    {
      return .different("NIO sees a request where the machine waits")
    }
    return .same
  }
}

extension [UInt8] {
  /// As NIO gives it back: a String, with what isn't UTF-8 repaired.
  fileprivate var asText: [UInt8] {
    allSatisfy { $0 < 0x80 } ? self : Array(String(decoding: self, as: UTF8.self).utf8)
  }

  fileprivate var lowercased: [UInt8] { map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 } }
}

extension ReadRequest.Field {
  fileprivate var asText: Self { Self(name: name, value: value.asText) }
}

extension ReadRequest {
  /// llhttp's list, as NIO's version has it.
  private static let listed: Set<String> = [
    "DELETE", "GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS", "TRACE", "COPY", "LOCK", "MKCOL", "MOVE", "PROPFIND",
    "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE",
    "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PATCH", "PURGE", "MKCALENDAR", "LINK", "UNLINK", "SOURCE",
    "QUERY",
  ]

  fileprivate var isListedMethod: Bool { Self.listed.contains(String(decoding: method, as: UTF8.self)) }

  fileprivate var asksForUpgrade: Bool {
    let connection = Array("connection".utf8)
    let upgrade = Array("upgrade".utf8)
    return fields.contains { $0.name.lowercased == upgrade }
      && fields.contains { $0.name.lowercased == connection && $0.value.lowercased.contains(subsequence: upgrade) }
  }

  /// Whether the first line of `framing` that has a semicolon or more has a blank too; trailers, the only other lines
  /// with blanks, come last and have a colon.
  fileprivate var hasBlankInExtension: Bool {
    framing.split(separator: 0x0A).contains { line in
      line.first.map { $0 != 0x0D } ?? false
        && line.prefix { $0 != 0x3B && $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }.allSatisfy(\.isHexadecimal)
        && line.contains { $0 == 0x20 || $0 == 0x09 }
    }
  }
}

extension UInt8 {
  fileprivate var isHexadecimal: Bool {
    (0x30...0x39).contains(self) || (0x41...0x46).contains(self) || (0x61...0x66).contains(self)
  }
}

extension [UInt8] {
  fileprivate func contains(subsequence other: [UInt8]) -> Bool {
    guard count >= other.count else { return false }
    return (0...count - other.count).contains { self[$0..<$0 + other.count].elementsEqual(other) }
  }
}
